"""How convex.py measures: each entrant in a forked process, its records in a file, a table of them.

A record is what one entrant did on one row, as one line of JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from convex import Problem

GOAL = 1e-6
"""The relative objective gap at which a problem counts as solved."""

ONCE = 20.0
"""A fit of more seconds runs once."""

PREPARING = 60.0
"""Seconds allowed for imports, layouts and compiling before the first fit."""

Prepare = Callable[["Problem"], Callable[[float], tuple[Any, ...]]]


@dataclass
class Record:
    """One entrant on one row: seconds of CPU and wall, and how far it came."""

    row: str
    entrant: str
    scale: float
    tolerance: float = 0.0
    seconds: float = float("nan")
    wall: float = float("nan")
    first: float | None = None
    value: float = float("inf")
    note: str = ""
    failure: str = ""
    made: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))


@dataclass(frozen=True)
class Trial:
    """What is measured: an entrant's fit of a problem, after one of a small twin of it.

    A fit of more than `cap` seconds of CPU kills its process.
    """

    prepare: Prepare
    problem: Problem
    twin: Problem | None
    ladder: tuple[float, ...]
    repeats: int
    cap: float

    def run(self, record: Record, best: float) -> Record:
        """Fill the record in from a child process, which is killed if one fit exceeds the cap.

        The ladder ends with the first tolerance at which the objective is within `GOAL` of `best`;
        the times are medians over the runs with that tolerance.
        """
        context = multiprocessing.get_context("fork")
        parent, child = context.Pipe(duplex=False)
        process = context.Process(target=self._child, args=(child, best), daemon=True)
        process.start()
        child.close()
        runs: list[dict[str, Any]] = []
        for message in self._heard(parent, process.pid):
            if isinstance(message, str):
                record.failure = message
            else:
                runs.append(message)
        process.kill()
        process.join()
        if runs:
            last = [run for run in runs if run["tolerance"] == runs[-1]["tolerance"]]
            record.tolerance, record.value = last[0]["tolerance"], last[0]["value"]
            record.seconds = statistics.median(run["seconds"] for run in last)
            record.wall = statistics.median(run["wall"] for run in last)
            record.note = last[0]["note"]
        return record

    def _heard(self, parent: Connection, pid: int | None) -> Iterator[dict[str, Any] | str]:
        """What the child sends, until it ends or a fit exceeds the cap."""
        clock, ends = psutil.Process(pid), PREPARING + self.cap
        while clock.cpu_times().user < ends:
            if parent.poll(0.5):
                try:
                    yield (message := parent.recv())
                except EOFError:
                    message = "the process died"
                    yield message
                if isinstance(message, str):
                    return
                ends = clock.cpu_times().user + self.cap
        yield f"> {self.cap:g} s"

    def _child(self, parent: Connection, best: float) -> None:
        """Send a dictionary for every run, then the reason for a failure, or an empty text."""
        warnings.showwarning = lambda *_, **__: None
        try:
            if self.twin is not None:
                with suppress(Exception):
                    self.prepare(self.twin)(self.ladder[0])
            fit = self.prepare(self.problem)
            for tolerance in self.ladder:
                parent.send(run := self._timed(fit, tolerance))
                if gap(run["value"], best) <= GOAL:
                    for _ in range(0 if run["seconds"] > ONCE else self.repeats - 1):
                        parent.send(self._timed(fit, tolerance))
                    break
                if time.process_time() > 3 * self.cap:
                    break
            parent.send("")
        except Exception as error:
            parent.send(f"{type(error).__name__}: {str(error).splitlines()[0][:90]}")

    def _timed(self, fit: Callable[[float], tuple[Any, ...]], tolerance: float) -> dict[str, Any]:
        cpu, wall = time.process_time(), time.perf_counter()
        kernel, bias, *note = fit(tolerance)
        run: dict[str, Any] = {"seconds": time.process_time() - cpu}
        run |= {"wall": time.perf_counter() - wall, "tolerance": tolerance}
        return run | {"value": self.problem.value(kernel, bias), "note": "".join(note)}


def gap(value: float, best: float) -> float:
    """How far above the best value, relative to it."""
    return (value - best) / abs(best)


def append(path: Path, record: Record) -> None:
    """Add a record to a file, one line of JSON each."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def load(path: Path) -> list[Record]:
    """The records of a file: the last one of every row, entrant and scale."""
    records = [Record(**json.loads(line)) for line in path.read_text().splitlines()]
    return list({(r.row, r.entrant, r.scale): r for r in records}.values())


def table(records: Iterable[Record], titles: dict[str, str], small: set[str]) -> str:
    """Two Markdown tables: the large problems, and the small ones with their first calls."""
    found = [r for r in records if r.row in titles]
    groups: dict[tuple[str, float], list[Record]] = {}
    for record in sorted(found, key=lambda r: list(titles).index(r.row)):
        groups.setdefault((record.row, record.scale), []).append(record)
    large: list[tuple[str, float, list[Record], list[Record]]] = []
    little = large.copy()
    for (row, scale), group in groups.items():
        title = titles[row] + ("" if scale == 1 else f" (scale {scale:g})")
        best = min(r.value for r in group)
        shown = [r for r in group if not r.entrant.startswith("reference")]
        ours = [r for r in shown if r.entrant == "minimand"]
        peers = [r for r in shown if r.entrant != "minimand"]
        peers.sort(key=lambda r: (not _solved(r, best), r.seconds))
        (little if row in small else large).append((title, best, ours, peers))
    lines = []
    if large:
        heads = "problem | minimand | best peer | ratio | other peers | by"
        lines += [f"| {heads} |", "| --- | ---: | --- | ---: | --- | --- |"]
    for title, best, ours, peers in large:
        mine = _cell(ours[0], best) if ours else ""
        names = [f"{p.entrant} {_cell(p, best)}" for p in peers] or [""]
        note = ours[0].note if ours else ""
        cells = (title, mine, names[0], _ratio(ours, peers, best), ", ".join(names[1:]), note)
        lines.append(f"| {' | '.join(cells)} |")
    if little:
        heads = "problem, ms | minimand | best peer | ratio | first call | peer's | ratio"
        lines += ["", f"| {heads} |", "| --- | ---: | --- | ---: | ---: | ---: | ---: |"]
    for title, best, ours, peers in little:
        firsts = [1e3 * (r[0].first or float("nan")) if r else float("nan") for r in (ours, peers)]
        mine = _cell(ours[0], best, 1e3) if ours else ""
        theirs = f"{peers[0].entrant} {_cell(peers[0], best, 1e3)}" if peers else ""
        calls = f"{firsts[0]:.2f} | {firsts[1]:.2f} | {firsts[1] / firsts[0]:.2g}"
        lines.append(f"| {title} | {mine} | {theirs} | {_ratio(ours, peers, best)} | {calls} |")
    return "\n".join(lines)


def _solved(record: Record, best: float) -> bool:
    return gap(record.value, best) <= GOAL


def _cell(record: Record, best: float, unit: float = 1.0) -> str:
    """The time, or by how much the goal was missed."""
    if _solved(record, best):
        return f"{unit * record.seconds:.3g}"
    reached = gap(record.value, best)
    why = f"gap {reached:.0e}" if reached < float("inf") else ""
    return f"✗ ({', '.join(filter(None, (why, record.failure)))})"


def _ratio(ours: list[Record], peers: list[Record], best: float) -> str:
    """The best peer's time over minimand's."""
    if ours and peers and _solved(ours[0], best) and _solved(peers[0], best):
        return f"{peers[0].seconds / ours[0].seconds:.2g}"
    return "–"
