"""Each run as trackers know it: a path, a configuration and a curve."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tpobench.records.results import Results, curve_points, run_columns
from tpobench.records.shapes import AXES
from tpobench.records.store import RunRecord

ONE_CELL = "all"  # of a suite without a grid
UNFIT = re.compile(r"[^\w=.,+-]+")  # in the name of a folder, on any system


@dataclass(frozen=True)
class TrackedRun:
    """A record, and its name: suite/cell/algorithm/seed."""

    record: RunRecord
    path: str

    @property
    def config(self) -> dict[str, Any]:
        """What was asked for and how it ended; no nested values."""
        return run_columns(self.record, str(self.record.spec["matching"]))

    def points(self) -> Iterator[tuple[int, Mapping[str, float]]]:
        """Each recorded step with what was measured there; what was not is left out."""
        for point in curve_points(self.record):
            if point["step"] is not None:
                yield point["step"], {k: float(v) for k, v in point.items() if k != AXES[0] and v is not None}


def tracked_runs(results: Results) -> list[TrackedRun]:
    """Every run once; runs whose names are alike, as of two devices, have their ids behind the seed."""
    names = [_path(record) for record in results.records]
    alike = Counter(name.casefold() for name in names)
    return [
        TrackedRun(record, name if alike[name.casefold()] == 1 else f"{name}_{record.id}")
        for record, name in zip(results.records, names, strict=True)
    ]


def _path(record: RunRecord) -> str:
    spec = record.spec
    cell = {**spec["cell"], **({} if spec["matching"] == "any" else {"matching": spec["matching"]})}
    parts = (spec["suite"], ",".join(f"{k}={v}" for k, v in cell.items()) or ONE_CELL, spec["algorithm"])
    return "/".join([*(UNFIT.sub("_", str(p)).lstrip(".") or "_" for p in parts), f"seed_{spec['seed']}"])
