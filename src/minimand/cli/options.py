"""The arguments and options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Argument(
        help="A CSV or Parquet file, images (a folder, IDX, .npz), or diabetes, breast_cancer, "
        "digits, wine, iris."
    ),
]
Target = Annotated[
    str | None,
    typer.Option(help="The column to predict; a file without header has columns 0, 1, 2 ..."),
]
MetricName = Annotated[
    str | None, typer.Option("--metric", help="What you care about: mae, error, auc ...")
]
LossNames = Annotated[
    list[str] | None,
    typer.Option("--loss", help="A loss to try, such as 'huber(delta=2)'; repeat for more."),
]
TaskName = Annotated[
    str | None, typer.Option("--task", help="regression, binary, multiclass or count.")
]
ModelNames = Annotated[
    list[str] | None, typer.Option("--model", help="linear or mlp; repeat for both.")
]
PenaltyName = Annotated[str, typer.Option("--penalty", help="L2, L1 or ElasticNet.")]
Seconds = Annotated[
    float | None, typer.Option("--budget", help="Seconds after which the search ends.")
]
Seed = Annotated[int, typer.Option(help="Decides splits and every random number.")]
Folds = Annotated[int, typer.Option(help="Cross-validation folds.")]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Whether the first row holds names.  [default: look]"
    ),
]
NetworkNames = Annotated[
    list[str] | None,
    typer.Option(
        "--network",
        help="For images: linear, mlp, cnn ...; repeat for more.  [default: linear, cnn]",
    ),
]
Augmentations = Annotated[
    list[str] | None,
    typer.Option("--augment", help="For images: mixup ...; repeat for several, one on another."),
]
Epochs = Annotated[
    int | None, typer.Option(help="For images: the most epochs.  [default: 20, or 100 if few]")
]
Size = Annotated[
    int | None, typer.Option(help="For pictures: pixels on each side.  [default: as most are]")
]
Picture = Annotated[
    Path | None,
    typer.Option("--chart", help="Also draw it into this .svg, .png or .html file."),
]
Out = Annotated[
    Path | None, typer.Option(help="The run directory.  [default: a fresh one in runs/]")
]
