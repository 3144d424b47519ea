"""The catalogues of losses, schedules and augmentations, and what is known of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minimand.cli.options import Picture, TaskName
from minimand.cli.output import form, print_table, say, write_chart

if TYPE_CHECKING:
    from minimand.component import Component
    from minimand.losses import Loss

losses_app = typer.Typer(invoke_without_command=True)
schedules_app = typer.Typer(invoke_without_command=True)
augmentations_app = typer.Typer(invoke_without_command=True)


@losses_app.callback()
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
    print_table(rows, ("loss", "tasks", "formula", "convex", "use"))
    say("\n* tried by fit unless --loss names others; a loss without a task is trained by a recipe")


@losses_app.command()
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
    drawn = loss_charts.rendered(loss, form(chart)) if chart else b""
    tasks = ("tasks", _tasks(loss) or "none: train it by a recipe")
    _show(loss, [tasks], loss_charts.undrawable(loss) or loss_charts.plain(loss), chart, drawn)


@schedules_app.callback()
def schedules(context: typer.Context) -> None:
    """List the schedules of the learning rate, or show one of them."""
    import minimand.schedules  # noqa: F401  (it fills the catalogue)

    _list(context, "schedule")


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
    from minimand.drawing import written
    from minimand.schedules import Schedule

    schedule = Schedule.parse(name)
    drawn = written(lambda: schedule.plot(steps), form(chart)) if chart else b""
    _show(schedule, [], schedule.sketch(steps), chart, drawn)


@augmentations_app.callback()
def augmentations(context: typer.Context) -> None:
    """List the augmentations, or show one of them."""
    import minimand.data.augmentation  # noqa: F401  (it fills the catalogue)

    _list(context, "augmentation")


@augmentations_app.command("show")
def show_augmentation(
    name: Annotated[
        str,
        typer.Argument(
            help="An augmentation, such as rotation or 'chain(augmentations=(flip, shift))'.",
            metavar="AUGMENTATION",
        ),
    ],
    data: Annotated[
        str, typer.Option(help="A folder of images, a file of them, or digits.")
    ] = "digits",
    seed: Annotated[int, typer.Option(help="Decides the draws.")] = 0,
    chart: Picture = None,
) -> None:
    """Show an augmentation: formula, source, use, facts, fields and images that it changed."""
    from minimand.data.augmentation import Augmentation
    from minimand.report import augmentation_charts

    augmentation = Augmentation.parse(name)
    drawn = augmentation_charts.rendered(augmentation, form(chart), data, seed) if chart else b""
    picture = augmentation_charts.plain(augmentation, data, seed)
    _show(augmentation, [], picture, chart, drawn)


def _list(context: typer.Context, kind: str) -> None:
    """The cards of a kind of component, unless one of them is to be shown."""
    if context.invoked_subcommand is None:
        from minimand.component import catalogue

        cards = {name: cls.card for name, cls in catalogue(kind).items()}
        rows = [(name, card.formula, card.use) for name, card in cards.items()]
        print_table(rows, (kind, "formula", "use"))


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
        write_chart(chart, drawn)
    card = one.card
    say(f"{one}\n\n{summary(type(one))}\n")
    rows = [("formula", card.formula), ("source", card.source), ("use", card.use), *more]
    rows += [("facts", "; ".join(facts(one)))]
    rows += [(field, f"{value} ({allowed})") for field, allowed, value in fields(one)]
    print_table(rows)
    say(f"\n{picture}")
    if chart:
        say(f"\nChart: {chart}")


def _tasks(loss: Loss) -> str:
    """The tasks that a loss serves, with a star where `fit` tries it without being asked."""
    from minimand.losses.base import DOMAINS

    served = [task for task in DOMAINS if loss.serves(task)]
    return ", ".join(task + "*" * (task in loss.card.tasks) for task in served)
