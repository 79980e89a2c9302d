"""Records -> Results -> a tidy table.  Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tpobench.errors import NothingToDo
from tpobench.records.shapes import AXES
from tpobench.records.store import RunRecord, merge_copies, read_plan, read_source, sources

if TYPE_CHECKING:
    import pandas as pd


class _Planned(Protocol):
    @property
    def spec(self) -> Mapping[str, Any]: ...


HasSpec = TypeVar("HasSpec", bound=_Planned)


@dataclass(frozen=True)
class Results:
    """The records of one or more suites, and how many damaged ones were left out."""

    records: tuple[RunRecord, ...]
    quarantined: int = 0
    sources: tuple[Path, ...] = ()  # run directories and packed files

    @property
    def plans(self) -> tuple[str, ...]:
        """`adaptive:5x4` of every source whose seeds were planned so."""
        plans = [read_plan(source) for source in self.sources]
        return tuple(dict.fromkeys(str(plan["seeds"]) for plan in plans if plan is not None))

    def frame(self) -> pd.DataFrame:
        """One row per run and recorded step.

        Columns: suite, suite_version, the axes of the grid, matching, algorithm, seed, status, reason, run_id, the
        facts of the run, step, interactions, gradient_steps, and one column per metric.  A run without a curve is one
        row without a step.  Algorithms that are the same under every matching appear once under each of
        the suite.
        """
        import pandas as pd  # noqa: PLC0415 - `tpobench --help` must not wait for pandas

        rows = [
            {**run_columns(record, matching), **point}
            for record, matching in by_matching(self.records)
            for point in curve_points(record)
        ]
        return pd.DataFrame(rows)


def by_matching(records: Iterable[HasSpec]) -> Iterator[tuple[HasSpec, str]]:
    """Each record under its matching; of an algorithm that is the same under all ("any"), under each of its suite."""
    records = list(records)
    matchings: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in records:
        if record.spec["matching"] != "any":
            matchings[_suite_of(record)].add(str(record.spec["matching"]))
    for record in records:
        matching = str(record.spec["matching"])
        for each in (sorted(matchings[_suite_of(record)]) or [matching]) if matching == "any" else [matching]:
            yield record, each


def _suite_of(record: _Planned) -> tuple[str, int]:
    return record.spec["suite"], record.spec.get("suite_version", 1)


def run_columns(record: RunRecord, matching: str) -> dict[str, Any]:
    """What is the same in all rows of a run: its place in the grid, how it ended, and its facts."""
    spec = record.spec
    return {
        "suite": spec["suite"],
        "suite_version": spec["suite_version"],
        **spec["cell"],
        "matching": matching,
        "algorithm": spec["algorithm"],
        "seed": spec["seed"],
        "status": record.status,
        "reason": record.reason,
        "run_id": record.id,
        **record.facts,
    }


def evaluations(record: RunRecord) -> int:
    """How often a run measured the metric that it is scored by, which may be rarer than what it records."""
    return sum(value is not None for value in record.curve.get(record.reporting["metric"], ()))


def curve_points(record: RunRecord) -> list[dict[str, Any]]:
    """Each recorded step: the axes and every metric; of a run without a curve one point without a step."""
    if not record.curve:
        return [dict.fromkeys(AXES)]
    return [dict(zip(record.curve, values, strict=True)) for values in zip(*record.curve.values(), strict=True)]


def load_results(path: str | Path) -> Results:
    """Read a run directory, a folder that holds several (unpacked or packed), or one packed file.

    Raises:
        NothingToDo: nothing there.
        CorruptResults: written by a newer tpobench, or two copies of a run differ.
    """
    path = Path(path)
    folders = sources(path)
    if not folders and not path.exists():
        msg = f"no results at {path}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    records: list[RunRecord] = []
    damaged = 0
    for source in folders:
        by_id, torn = read_source(source)
        records += by_id.values()
        damaged += torn
    merged = tuple(merge_copies(records).values())
    if not merged:
        beside = f" ({damaged} damaged)" if damaged else ""
        msg = f"no finished runs in {path}{beside}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    return Results(merged, damaged, tuple(folders))
