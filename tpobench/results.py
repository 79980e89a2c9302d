"""Records -> Results -> a tidy table.  Reads only."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.errors import NothingToDo
from tpobench.records import RunRecord, Store, load_packed, merge_copies, run_folders

if TYPE_CHECKING:
    import pandas as pd

AXES = ("step", "interactions", "gradient_steps")


@dataclass(frozen=True)
class Results:
    """The records of one or more suites, and how many damaged ones were left out."""

    records: tuple[RunRecord, ...]
    quarantined: int = 0

    def frame(self) -> pd.DataFrame:
        """One row per run and recorded step.

        Columns: suite, suite_version, the axes of the grid, matching, algorithm, seed, status, reason, run_id, the
        facts of the run, step, interactions, gradient_steps, and one column per metric.  A run without a curve is one
        row without a step.  Rules that are the same under every matching appear once under each matching of the suite.
        """
        import pandas as pd  # noqa: PLC0415 - `tpobench --help` must not wait for pandas

        shown = self._matchings()
        rows = [
            {**_run_columns(record, matching), **point}
            for record in self.records
            for matching in _matchings_of(record, shown)
            for point in _points(record)
        ]
        return pd.DataFrame(rows)

    def _matchings(self) -> dict[tuple[str, int], list[str]]:
        """Matchings that occur in each suite, "any" aside."""
        found: dict[tuple[str, int], set[str]] = defaultdict(set)
        for record in self.records:
            if record.spec["matching"] != "any":
                found[record.spec["suite"], record.spec["suite_version"]].add(record.spec["matching"])
        return {suite: sorted(matchings) for suite, matchings in found.items()}


def _matchings_of(record: RunRecord, shown: dict[tuple[str, int], list[str]]) -> list[str]:
    matching = str(record.spec["matching"])
    return (
        shown.get((record.spec["suite"], record.spec["suite_version"]), [matching]) if matching == "any" else [matching]
    )


def _run_columns(record: RunRecord, matching: str) -> dict[str, Any]:
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


def _points(record: RunRecord) -> list[dict[str, Any]]:
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
    if not path.exists():
        msg = f"no results at {path}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    records: list[RunRecord] = []
    damaged = 0
    for source in _sources(path):
        found, torn = load_packed(source) if source.is_file() else Store(source).load()
        records += found
        damaged += torn
    merged = tuple(merge_copies(records).values())
    if not merged:
        beside = f" ({damaged} damaged)" if damaged else ""
        msg = f"no finished runs in {path}{beside}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    return Results(merged, damaged)


def _sources(path: Path) -> list[Path]:
    if path.is_file() or (path / "runs").is_dir():
        return [path]
    return [*sorted(p for p in path.glob("*.jsonl") if p.is_file()), *run_folders(path)]


def final_value(record: RunRecord) -> float | None:
    """Mean of the suite's metric over its last `window` recorded points; the worst value where the run diverged."""
    reporting = record.reporting
    if record.status == "diverged":
        return float(reporting["worst"])
    last = record.curve.get(reporting["metric"], [])[-reporting["window"] :]
    if record.status != "ok" or not last or None in last:
        return None
    return float(sum(last) / len(last))
