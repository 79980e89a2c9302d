"""An item's scorecard: each printed number beside ours, each claim with its comparisons, and how they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tpobench import __version__
from tpobench.paper.claim_verdicts import JudgedClaim, judge
from tpobench.paper.evidence import Evidence
from tpobench.paper.items import Item
from tpobench.paper.number_verdicts import MeasuredNumber, measure
from tpobench.records.store import RunRecord
from tpobench.scores.estimates import SEED
from tpobench.scores.text import seed_ranges
from tpobench.scores.unverified import Unverified
from tpobench.stats.multiplicity import resamples_for
from tpobench.stats.reproduction import DRAWS
from tpobench.suites.load import ScaleChange, load_suite, scale_changes

ORDERINGS_ONLY = "At this scale cells, budgets and seeds are not the paper's: orderings are compared, values are not"


@dataclass(frozen=True)
class UsedSuite:
    """A suite behind an item, and how it differs from the published protocol."""

    name: str
    version: int
    seeds: tuple[int, ...]  # of finished runs
    deviations: tuple[str, ...]
    changes: tuple[ScaleChange, ...] = ()  # that the quick scale makes
    note: str = ""  # why its runs are missing


@dataclass(frozen=True)
class Scorecard:
    """What became of an item."""

    item: Item
    scale: str
    numbers: tuple[MeasuredNumber, ...]
    claims: tuple[JudgedClaim, ...]
    suites: tuple[UsedSuite, ...]
    unverified: tuple[Unverified, ...] = ()
    records: tuple[RunRecord, ...] = field(default=(), repr=False)  # that all of it rests on

    @property
    def number_counts(self) -> Counter[str]:
        """Printed numbers that take runs, by verdict."""
        return Counter(m.verdict for m in self.numbers if not m.number.computed)

    @property
    def computed_counts(self) -> Counter[str]:
        """Printed numbers that follow from algorithms or settings without runs, by verdict."""
        return Counter(m.verdict for m in self.numbers if m.number.computed)

    @property
    def claim_counts(self) -> Counter[str]:
        """Claims by verdict."""
        return Counter(j.verdict for j in self.claims)

    @property
    def claim_family(self) -> int:
        """Claims that Holm adjusts for."""
        return sum(j.p is not None for j in self.claims)

    @property
    def family(self) -> int:
        """Comparisons that Holm adjusts for."""
        return sum(a.comparison is not None and a.comparison.p is not None for j in self.claims for a in j.answers)

    @property
    def not_run(self) -> str:
        """The first reason why something was not run, empty where nothing is missing."""
        reasons = [m.notes[0] for m in self.numbers if m.verdict == "not run" and m.notes]
        reasons += [a.reason for j in self.claims for a in j.answers if a.verdict == "not run"]
        reasons += [j.reason for j in self.claims if not j.answers and j.reason]
        return next((r for r in reasons if r), "")

    @property
    def signature(self) -> str:
        """How all of it came about, on one line."""
        answers = [a.comparison for j in self.claims for a in j.answers if a.comparison is not None]
        tests = sorted({c.test for c in answers if c.test})
        methods = sorted({m.prediction.method for m in self.numbers if m.prediction and m.prediction.method != "none"})
        asked = sum(len(j.answers) for j in self.claims)
        return "|".join([
            f"tpobench {__version__}", f"item:{self.item.name}", f"scale:{self.scale}",
            "suites:" + ("+".join(f"{s.name} v{s.version}" for s in self.suites) or "none"),
            "seeds:" + ("+".join(dict.fromkeys(seed_ranges(s.seeds) for s in self.suites if s.seeds)) or "none"),
            f"numbers:{'+'.join(methods) or 'none'}", f"draws:{DRAWS}", f"claims:{'+'.join(tests) or 'none'}",
            f"adj:max-p-holm/{self.claim_family}+holm/{self.family}", f"B:{resamples_for(asked)}", f"rng:{SEED}",
            "diverged:worst",
        ])  # fmt: skip


def score(item: Item, evidence: Mapping[str, Evidence], scale: str) -> Scorecard:
    """The scorecard of an item from what is known of its suites (by their names at the scale of the paper).

    It rests on the parts of the item only, so it is the same whatever else is reproduced beside it.
    """
    names = dict.fromkeys(part.suite for part in item.parts if part.suite in evidence)
    limited = {name: evidence[name].limited(p for p in item.parts if p.suite == name) for name in names}
    measured = tuple(measure(number, limited, scale) for number in item.numbers)
    copies = {str(copy): copy for one in limited.values() for copy in one.unverified}
    used = tuple(_used(name, one, scale) for name, one in limited.items())
    records = tuple(r for one in limited.values() for r in one.records)
    return Scorecard(item, scale, measured, judge(item.claims, limited), used, tuple(copies.values()), records)


def _used(name: str, evidence: Evidence, scale: str) -> UsedSuite:
    suite = evidence.plan.suite
    seeds = tuple(sorted({seed for entry in evidence.entries.values() for seed in entry.arm.seeds}))
    changes = scale_changes(name) if scale == "quick" else ()
    data, usual = (one.task.get("data") for one in (suite, load_suite(name, scale=scale)))
    if data != usual:
        changes = (*changes, ScaleChange("task.data", usual, data))
    return UsedSuite(suite.name, suite.version, seeds, suite.deviations, changes, evidence.unavailable)
