"""Event files as TensorBoard reads them: a run in each folder, suite/cell/algorithm/seed.

The records keep no clock, so the time of every event is its step, in seconds; the same runs are the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams

from tpobench.exports.runs import TrackedRun, tracked_runs
from tpobench.records.results import Results

NAME = "events.out.tfevents.0.tpobench"  # TensorBoard knows its files by `tfevents`
START = 1.0  # of a run, in seconds: 0 means that there is no time


def event_files(results: Results) -> dict[str, bytes]:
    """One file per run: the scalars of its curve, and its configuration for the page HPARAMS."""
    return {f"{run.path}/{NAME}": _file(run) for run in tracked_runs(results)}


def _file(run: TrackedRun) -> bytes:
    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in _events(run):
        writer.write(event.SerializeToString(deterministic=True))
    writer.flush()
    return content.getvalue()


def _events(run: TrackedRun) -> Iterator[Event]:
    _, config, _ = hparams({k: v for k, v in run.config.items() if v is not None}, {})  # type: ignore[no-untyped-call]
    yield Event(wall_time=START, file_version="brain.Event:2")
    yield Event(wall_time=START, summary=config)
    for step, metrics in run.points():
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        yield Event(wall_time=START + step, step=step, summary=Summary(value=values))
