"""The command line: fit, compare, tune, predict, losses, schedules.

Bad input is one sentence and exit status 2.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minimand.errors import FileError, MinimandError

if TYPE_CHECKING:
    from minimand.component import Component
    from minimand.losses import Loss

INTERRUPTED = 130

app = typer.Typer(
    help="Choose the loss for what you care about, minimise it, and show the evidence.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
catalogue_app = typer.Typer(invoke_without_command=True)
app.add_typer(catalogue_app, name="losses")
schedules_app = typer.Typer(invoke_without_command=True)
app.add_typer(schedules_app, name="schedules")

Data = Annotated[
    str,
    typer.Argument(help="A CSV or Parquet file, or diabetes, breast_cancer, digits, wine, iris."),
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
Picture = Annotated[
    Path | None,
    typer.Option("--chart", help="Also draw it into this .svg, .png or .html file."),
]
Out = Annotated[
    Path | None, typer.Option(help="The run directory.  [default: a fresh one in runs/]")
]


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
    out: Out = None,
) -> None:
    """Choose a loss and a model by the metric, refit the winner, test it, write the run."""
    from minimand.budget import Budget
    from minimand.fitting.directory import claim
    from minimand.fitting.main import table_of
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
    )
    folder = claim(out, _stem(data))
    with Budget(budget) as watch:
        table = table_of(data, target, header)
        fitted = refit(study(table, question, watch, say), watch, say)
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
    trials: Annotated[int, typer.Option(help="How many settings.")] = 64,
    sampler: Annotated[str, typer.Option(help="tpe, random, sobol, grid, gp or cma-es.")] = "tpe",
    pruning: Annotated[
        str | None, typer.Option(help="End poor settings early: halving, hyperband or asha.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="A file or database where the study goes on.")
    ] = None,
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

    command = shlex.join(["minimand", *sys.argv[1:]])
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
            jobs=jobs,
            seed=seed,
        )
        page = tuned.save(found, model, folder, _stem(data), watch, command)
    say(found.summary())
    say(f"Report: {page}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run directory that fit or tune wrote.")],
    data: Annotated[str, typer.Argument(help="A file with the columns of training.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The CSV to write.  [default: print]")
    ] = None,
    header: Header = None,
) -> None:
    """Predict new rows with the encoding and the model of a run."""
    import polars as pl

    from minimand.data import read_table
    from minimand.files import write_file
    from minimand.fitting.model import Model

    model = Model.of_run(run)
    value, probability, notes = model.predict(
        read_table(data, header=header, need_target=False).frame
    )
    for note in notes:
        print(note, file=sys.stderr)
    columns = {"prediction": value}
    if probability is not None:
        classes = model.fitted.target.classes
        columns |= {f"P({label})": probability[:, k] for k, label in enumerate(classes)}
    text = pl.DataFrame(columns).write_csv()
    if out is None:
        sys.stdout.write(text)
    else:
        write_file(out, text)
        say(f"Wrote {len(value):,} predictions to {out}")


@catalogue_app.callback()
def losses(context: typer.Context, task: TaskName = None) -> None:
    """List the catalogue of losses, or show one of them."""
    if context.invoked_subcommand is not None:
        return
    from minimand.component import catalogue
    from minimand.errors import unknown
    from minimand.losses import Loss
    from minimand.losses.base import DOMAINS

    if task is not None and task not in DOMAINS:
        raise unknown("task", task, DOMAINS)
    known = [cls() for cls in catalogue("loss").values() if issubclass(cls, Loss)]
    rows = [
        (type(loss).__name__, _tasks(loss), card.formula, "yes" if card.convex else "no", card.use)
        for loss, card in ((loss, loss.card) for loss in known)
        if task is None or loss.serves(task)
    ]
    _print_table(rows, ("loss", "tasks", "formula", "convex", "use"))
    say("\n* tried by fit unless --loss names others; a loss without a task is trained by a recipe")


@catalogue_app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="A loss, such as huber or 'huber(delta=2)'.", metavar="LOSS")
    ],
    chart: Picture = None,
) -> None:
    """Show a loss: formula, source, use, facts, fields and its picture."""
    from minimand.losses import Loss
    from minimand.report import loss_charts

    loss = Loss.parse(name)
    drawn = loss_charts.rendered(loss, _form(chart)) if chart else b""
    tasks = ("tasks", _tasks(loss) or "none: train it by a recipe")
    _show(loss, [tasks], loss_charts.undrawable(loss) or loss_charts.plain(loss), chart, drawn)


@schedules_app.callback()
def schedules(context: typer.Context) -> None:
    """List the schedules of the learning rate, or show one of them."""
    if context.invoked_subcommand is not None:
        return
    import minimand.schedules  # noqa: F401  (it fills the catalogue)
    from minimand.component import catalogue

    cards = {name: cls.card for name, cls in catalogue("schedule").items()}
    rows = [(name, card.formula, card.use) for name, card in cards.items()]
    _print_table(rows, ("schedule", "formula", "use"))


@schedules_app.command("show")
def show_schedule(
    name: Annotated[
        str,
        typer.Argument(
            help="A schedule, such as cosine or 'warmup(schedule=cosine, steps=50)'.",
            metavar="SCHEDULE",
        ),
    ],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Where the picture ends.  [default: by the schedule]")
    ] = None,
    chart: Picture = None,
) -> None:
    """Show a schedule: formula, source, use, facts, fields and its picture."""
    from minimand.report import schedule_charts
    from minimand.schedules import Schedule

    schedule = Schedule.parse(name)
    drawn = schedule_charts.rendered(schedule, _form(chart), steps) if chart else b""
    _show(schedule, [], schedule_charts.plain(schedule, steps), chart, drawn)


def _form(chart: Path) -> str:
    return chart.suffix[1:].lower()


def _show(
    one: Component,
    more: Sequence[tuple[str, str]],
    picture: str,
    chart: Path | None,
    drawn: bytes,
) -> None:
    """What is known about a component, its picture, and the chart written if one is asked for."""
    from minimand.report.cards import facts, fields, summary

    if chart:
        try:
            chart.write_bytes(drawn)
        except OSError as error:
            raise FileError(f"cannot write '{chart}': {error.strerror}") from None
    card = one.card
    say(f"{one}\n\n{summary(type(one))}\n")
    rows = [("formula", card.formula), ("source", card.source), ("use", card.use), *more]
    rows += [("facts", "; ".join(facts(one)))]
    rows += [(field, f"{value} ({allowed})") for field, allowed, value in fields(one)]
    _print_table(rows)
    say(f"\n{picture}")
    if chart:
        say(f"\nChart: {chart}")


def _tasks(loss: Loss) -> str:
    """The tasks that a loss serves, with a star where `fit` tries it without being asked."""
    from minimand.losses.base import DOMAINS

    served = [task for task in DOMAINS if loss.serves(task)]
    return ", ".join(task + "*" * (task in loss.card.tasks) for task in served)


def say(line: str) -> None:
    """One line on standard output, at once."""
    print(line, flush=True)


def _print_table(rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
    """Rows of plain text; `headings` stand above them if there are any."""
    from rich.console import Console
    from rich.table import Table

    columns = headings or [""] * len(rows[0])
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), show_header=bool(headings))
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 140
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


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


def _stem(data: str) -> str:
    return Path(data).name.split(".")[0] or "run"
