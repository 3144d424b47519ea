"""Losses of a run for TensorBoard (extra `tensorboard`)."""

from __future__ import annotations

import time
from pathlib import Path

from minimand.errors import ArgumentError
from minimand.training.progress import Event


class TensorBoard:
    """A listener that writes the losses of every epoch, and the speed, into a folder.

    Give it to `train(..., listeners=[TensorBoard("runs/first")])` and look at the folder with
    `tensorboard --logdir runs`.

    Raises:
        ArgumentError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path):
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ModuleNotFoundError:
            raise ArgumentError(
                "TensorBoard is not installed; run: pip install 'minimand[tensorboard]'"
            ) from None
        self._writer = EventFileWriter(str(folder))

    def __call__(self, event: Event) -> None:
        """Write the lines of an event."""
        for epoch, train, validation in event.lines:
            self._write("loss/train", train, epoch)
            self._write("loss/validation", validation, epoch)
        self._write("speed/examples per second", event.examples_per_second, event.step)
        self._writer.flush()

    def _write(self, tag: str, value: float, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        self._writer.add_event(Record(wall_time=time.time(), step=step, summary=summary))
