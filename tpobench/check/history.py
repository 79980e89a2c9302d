"""The log of a baseline: an entry per update, and how far each cell has drifted since the last one and the first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tpobench.check.baseline import SCHEMA, Baseline, digest_of
from tpobench.check.evidence import Measure, Runs, measures_of
from tpobench.scores.text import seed_ranges

VERSIONS = ("tpobench", "git", "torch", "numpy", "python", "cpu", "seed_scheme")


@dataclass(frozen=True)
class Drift:
    """The mean of one measure of one cell and algorithm over all seeds, now and before; None where it did not exist."""

    name: str
    first: float | None
    old: float | None
    new: float | None

    @property
    def difference(self) -> float | None:
        """New minus old."""
        return None if self.old is None or self.new is None else self.new - self.old


def means(baseline: Baseline) -> dict[str, float]:
    """Mean over all seeds of every measure of every cell and algorithm, to 6 digits."""
    by_measure = {}
    for name, measure, runs in _measured(baseline):
        values = measure.values(runs).values()
        by_measure[name] = float(f"{sum(values) / len(values):.6g}")
    return by_measure


def scales(*baselines: Baseline | None) -> dict[str, float]:
    """100 for every measure that is a share, which people read in percent, 1 for the others."""
    return {name: m.scalar.scale for of in baselines if of is not None for name, m, _ in _measured(of)}


def _measured(baseline: Baseline) -> Iterator[tuple[str, Measure, Runs]]:
    for arm, of_seeds in baseline.arms.items():
        runs = Runs(of_seeds)
        yield from ((f"{arm.text} {m.name}", m, runs) for m in measures_of(runs))


def drift(old: Baseline | None, new: Baseline) -> list[Drift]:
    """Every cell of the old and the new baseline, those that one of them lacks included."""
    before = {} if old is None else means(old)
    first = dict(old.log[0].get("means", {})) if old is not None and old.log else before
    after = means(new)
    return [Drift(name, first.get(name), before.get(name), after.get(name)) for name in {**after, **before}]


def log_document(old: Baseline | None, new: Baseline, *, reason: str, who: str, date: str) -> str:
    """The log with one more entry, as it is written.

    Indented, one value a line where it can change: it is reviewed as a diff.
    """
    entry = {
        "date": date,
        "who": who,
        "reason": reason,
        "runs": len(new.records),
        "sha256": digest_of(new.records),
        "versions": _versions(new),
        "means": means(new),
    }
    if old is not None:
        changes = drift(old, new)
        entry["added"] = [d.name for d in changes if d.old is None]
        entry["removed"] = [d.name for d in changes if d.new is None]
        entry["changed"] = {d.name: [d.old, d.new] for d in changes if d.difference}
    log: Sequence[Mapping[str, Any]] = [*(old.log if old is not None else ()), entry]
    document = {
        "schema": SCHEMA,
        "sha256": entry["sha256"],
        "screen": seed_ranges(new.screen),
        "reserve": seed_ranges(new.reserve),
        "log": log,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _versions(baseline: Baseline) -> dict[str, Any]:
    """What the runs were made with; several values where they differ."""
    versions: dict[str, Any] = {}
    for name in VERSIONS:
        values = sorted({str(r.provenance[name]) for r in baseline.records if r.provenance.get(name) is not None})
        if values:
            versions[name] = values[0] if len(values) == 1 else values
    return versions
