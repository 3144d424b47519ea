"""The commands fit, compare, tune, depth and predict, and the way into all of them.

Bad input is one sentence and exit status 2.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from minimand.cli.catalogues import augmentations_app, losses_app, schedules_app
from minimand.cli.options import (
    Augmentations,
    Data,
    Epochs,
    Folds,
    Header,
    LossNames,
    MetricName,
    ModelNames,
    NetworkNames,
    Out,
    PenaltyName,
    Picture,
    Seconds,
    Seed,
    Size,
    Target,
    TaskName,
)
from minimand.cli.output import form, print_table, say, write_chart
from minimand.errors import ArgumentError, MinimandError

INTERRUPTED = 130

app = typer.Typer(
    help="Choose the loss for what you care about, minimise it, and show the evidence.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(losses_app, name="losses")
app.add_typer(schedules_app, name="schedules")
app.add_typer(augmentations_app, name="augmentations")


@app.command()
def fit(
    data: Data,
    target: Target = None,
    metric: MetricName = None,
    loss: LossNames = None,
    task: TaskName = None,
    model: ModelNames = None,
    penalty: PenaltyName = "L2",
    budget: Seconds = None,
    seed: Seed = 0,
    folds: Folds = 5,
    header: Header = None,
    network: NetworkNames = None,
    augment: Augmentations = None,
    epochs: Epochs = None,
    size: Size = None,
    out: Out = None,
) -> None:
    """Choose a loss and a model by the metric, refit the winner, test it, write the run."""
    from minimand.budget import Budget
    from minimand.fitting.directory import claim
    from minimand.fitting.main import source_of
    from minimand.fitting.question import Question
    from minimand.fitting.refit import refit
    from minimand.fitting.study import study

    command = shlex.join(["minimand", *sys.argv[1:]])
    question = Question.asked(
        metric,
        loss,
        task,  # type: ignore[arg-type]
        model,
        penalty,
        seed,
        folds,
        0.2,
        command,
        network=network,
        augmentation=augment,
        epochs=epochs,
    )
    folder = claim(out, _stem(data))
    with Budget(budget) as watch:
        source = source_of(data, target, question, header, size)
        fitted = refit(study(source, question, watch, say), watch, say)
        fitted.save(folder)
    say(f"Report: {folder / 'report.html'}")


@app.command()
def compare(
    data: Data,
    target: Target = None,
    metric: MetricName = None,
    loss: LossNames = None,
    task: TaskName = None,
    model: ModelNames = None,
    penalty: PenaltyName = "L2",
    budget: Seconds = None,
    seed: Seed = 0,
    folds: Folds = 5,
    header: Header = None,
    network: NetworkNames = None,
    augment: Augmentations = None,
    epochs: Epochs = None,
    size: Size = None,
) -> None:
    """Score every candidate on the same folds of all rows; nothing is refitted or written."""
    from minimand import fitting

    comparison = fitting.compare(
        data,
        target,
        metric=metric,
        loss=loss,
        task=task,  # type: ignore[arg-type]
        models=model,
        penalty=penalty,
        budget=budget,
        seed=seed,
        folds=folds,
        header=header,
        network=network,
        augmentation=augment,
        epochs=epochs,
        size=size,
    )
    say(comparison.summary())


@app.command()
def tune(
    data: Data,
    target: Target = None,
    metric: MetricName = None,
    budget: Annotated[str | None, typer.Option(help="When the search ends: 60s, 5m or 1h.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Members at a time.  [default: all cores]")
    ] = None,
    width: Annotated[
        str | None,
        typer.Option(
            help="Members side by side on a core: a number, or probe.  [default: as is quick]"
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="How many settings.")] = 64,
    sampler: Annotated[str, typer.Option(help="tpe, random, sobol, grid, gp or cma-es.")] = "tpe",
    pruning: Annotated[
        str | None, typer.Option(help="End poor settings early: halving, hyperband or asha.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="A file or database where the study goes on.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the study in the storage.")] = "study",
    folds: Folds = 5,
    seed: Seed = 0,
    header: Header = None,
    out: Out = None,
) -> None:
    """Search the settings of a network, choose honestly, and show all trials."""
    from minimand.budget import Budget
    from minimand.fitting import tuned
    from minimand.fitting.directory import claim
    from minimand.fitting.main import table_of
    from minimand.tuning.storage import shown

    command = shlex.join(["minimand", *map(shown, sys.argv[1:])])
    folder = claim(out, _stem(data))
    with Budget(None if budget is None else tuned.seconds(budget)) as watch:
        found, model = tuned.search(
            table_of(data, target, header),
            metric,
            watch,
            say,
            folds=folds,
            trials=trials,
            pruning=pruning,
            sampler=sampler,
            storage=storage,
            name=name,
            jobs=jobs,
            width=tuned.width(width),
            seed=seed,
        )
        page = tuned.save(found, model, folder, _stem(data), watch, command)
    say(found.summary())
    say(f"Report: {page}")


@app.command()
def depth(
    data: Annotated[str, typer.Option(help="A table with a column of classes.")] = "digits",
    target: Target = None,
    depths: Annotated[str, typer.Option(help="Numbers of hidden layers.")] = "2,8,32,64",
    activation: Annotated[str, typer.Option(help="Of the hidden layers.")] = "sigmoid",
    gain: Annotated[float, typer.Option(help="Multiplies the first weights.")] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = 20,
    seed: Seed = 0,
    header: Header = None,
    chart: Picture = None,
) -> None:
    """Train plain, clipped, batch-normalised and residual networks, and show their gradients."""
    from minimand.data import FeatureEncoder, TargetEncoder, infer_task
    from minimand.diagnosis.depth import deep_networks
    from minimand.drawing import check_form
    from minimand.fitting.main import table_of
    from minimand.report import depth_charts

    if chart:
        check_form(form(chart))
    table = table_of(data, target, header)
    assert table.target is not None
    task, why = infer_task(table.target)
    if task not in ("binary", "multiclass"):
        raise ArgumentError(f"depth trains classifiers, but {why} Choose another target")
    networks = deep_networks(
        FeatureEncoder.fit(table.frame).transform(table.frame),
        TargetEncoder.fit(table.target, task).encode(table.target),
        depths=_whole_numbers(depths),
        activation=activation,  # type: ignore[arg-type]
        gain=gain,
        epochs=epochs,
        seed=seed,
    )
    print_table(depth_charts.table(networks), depth_charts.HEADINGS)
    if chart:
        write_chart(chart, depth_charts.rendered(networks, form(chart)))
        say(f"\nChart: {chart}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run directory that fit or tune wrote.")],
    data: Annotated[
        str, typer.Argument(help="A file with the columns of training, or images such as those.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The CSV to write.  [default: print]")
    ] = None,
    header: Header = None,
) -> None:
    """Predict new rows with the encoding and the model of a run."""
    import polars as pl

    from minimand.files import write_file
    from minimand.fitting.model import Model

    model = Model.of_run(run)
    rows = model.read(data, header)
    value, probability, notes = model.predict(rows)
    for note in notes:
        print(note, file=sys.stderr)
    files = getattr(rows, "files", ())
    columns = ({"file": files} if files else {}) | {"prediction": value}
    if probability is not None:
        classes = model.fitted.target.classes
        columns |= {f"P({label})": probability[:, k] for k, label in enumerate(classes)}
    text = pl.DataFrame(columns).write_csv()
    if out is None:
        sys.stdout.write(text)
    else:
        write_file(out, text)
        say(f"Wrote {len(value):,} predictions to {out}")


def main() -> None:
    """Run the command line."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except MinimandError as error:
        status = _fail(str(error), 2)
    except typer.TyperException as error:
        status = _fail(f"{error.format_message()} (--help lists what there is)", 2)
    if status == INTERRUPTED:
        _fail("interrupted before there was anything to keep", INTERRUPTED)
    sys.exit(status)


def _fail(sentence: str, status: int) -> int:
    print(f"minimand: {' '.join(sentence.split())}", file=sys.stderr)
    return status


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ArgumentError(f"cannot read the depths '{text}'; write them as 2,8,32") from None


def _stem(data: str) -> str:
    return Path(data).name.split(".")[0] or "run"
