"""Verdicts of all cells -> one outcome, one exit code, and the words for both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tpobench.check.baseline import Baseline
from tpobench.check.evidence import GateCell
from tpobench.check.waivers import Waiver
from tpobench.printable import first_of
from tpobench.scores.text import seed_ranges
from tpobench.stats.gate import GatePlan, GateReport, GateVerdict, Margin
from tpobench.stats.gate_tests import amounts

PASSED, REGRESSED, INCOMPLETE, NOTHING, INCONCLUSIVE = 0, 1, 3, 4, 7  # exit codes
ORDER = (
    "changed", "regressed", "crashed", "incomplete", "not comparable", "flagged", "inconclusive", "improved", "redrawn",
    "ok", "unchanged",
)  # fmt: skip
LABELS = {"flagged": "UNCONFIRMED"}
QUIET = ("unchanged",)  # counted in the table, listed in the full one
NOT_COMPARED = ("incomplete", "not comparable")
RED = ("changed", "regressed")
BROKEN = ("crashed", "incomplete", "not comparable", "flagged")


@dataclass(frozen=True)
class GateRow:
    """One measure of one algorithm in one cell: its verdict, and the waiver that is in force for it."""

    cell: GateCell
    verdict: GateVerdict
    waiver: Waiver | None = None

    @property
    def waived(self) -> bool:
        """Whether a confirmed regression does not count today."""
        return self.waiver is not None and self.verdict.status in RED

    @property
    def label(self) -> str:
        """The verdict as people read it."""
        label = LABELS.get(self.verdict.status, self.verdict.status.upper())
        if self.verdict.status == "inconclusive":
            return f"{label} ({self.verdict.seeds_needed or 'over 10000'} seeds needed)"
        return f"{label} (waived until {self.waiver.until})" if self.waived and self.waiver else label

    @property
    def reason(self) -> str:
        """One line: the gate's, and why runs broke or are missing; shares in percent."""
        return self.told(self.cell.scale)

    def told(self, scale: float = 1.0) -> str:
        """The reason, with the amounts of the metric in it scaled."""
        missed = "runs never reached the threshold" if self.logarithmic else "runs are not solved"
        gate = self.verdict.reason.replace("runs failed", missed)
        gate = gate.replace(amounts(self.verdict), amounts(self.verdict, scale))
        reasons = ". ".join(t for t in (gate, self.cell.trouble) if t)
        return f"{reasons}. Waived: {self.waiver.reason}" if self.waived and self.waiver else reasons

    @property
    def measured(self) -> bool:
        """Whether it has means and a difference, so that its line of the table says all."""
        return self.verdict.old is not None and self.verdict.status != "flagged" and not self.cell.trouble

    @property
    def logarithmic(self) -> bool:
        """Whether the difference is one of logarithms, so that a ratio says it better."""
        return self.cell.evidence.margin.logarithmic


@dataclass(frozen=True)
class Judgement:
    """Everything that the outputs of a check are made of."""

    rows: tuple[GateRow, ...]
    baseline: Baseline
    plan: GatePlan
    margins: Mapping[str, Margin]
    refusal: str = ""  # why this set-up could never reject
    notes: tuple[str, ...] = ()
    strict: bool = False
    expect_unchanged: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict)  # of the candidate: key, versions, runs found and made
    version: str = ""

    def of(self, *statuses: str) -> list[GateRow]:
        """The rows of some statuses that no waiver takes out."""
        return [r for r in self.rows if r.verdict.status in statuses and not r.waived]

    @property
    def compared(self) -> int:
        """How many cells were compared at all."""
        return sum(r.verdict.status not in NOT_COMPARED for r in self.rows)

    @property
    def exit_code(self) -> int:
        """Of the command: the worst that holds."""
        if self.refusal or self.compared == 0:
            return NOTHING
        if self.of(*RED):
            return REGRESSED
        if self.of(*BROKEN):
            return INCOMPLETE
        if self.expect_unchanged and self.changed:
            return REGRESSED
        return INCONCLUSIVE if self.strict and self.of("inconclusive", "improved") else PASSED

    @property
    def outcome(self) -> str:
        """One word or two."""
        if self.refusal or self.compared == 0:
            return "nothing compared"
        if self.exit_code in {REGRESSED, INCOMPLETE}:
            worst = "regressed" if self.of("regressed") and not self.expect_unchanged else "changed"
            return worst if self.exit_code == REGRESSED else "incomplete"
        if self.exit_code == INCONCLUSIVE or self.of("improved"):
            return "improved" if self.of("improved") else "inconclusive"
        return "changed within noise" if any(r.verdict.status != "unchanged" for r in self.rows) else "unchanged"

    @property
    def headline(self) -> str:
        """`REGRESSED: 24 cells compared: 2 regressed, 1 inconclusive, 21 unchanged`."""
        if self.refusal:
            return f"NOTHING COMPARED: {self.refusal}"
        counts: Counter[str] = Counter(r.verdict.status for r in self.rows if not r.waived)
        parts = [f"{counts[status]} {status}" for status in ORDER if counts[status]]
        waived = Counter(r.verdict.status for r in self.rows if r.waived)
        parts += [f"{n} {status} but waived" for status, n in waived.items()]
        of = "" if self.compared == len(self.rows) else f" of {len(self.rows)}"
        cells = "cell" if len(self.rows) == 1 else "cells"
        return f"{self.outcome.upper()}: {self.compared}{of} {cells} compared: {', '.join(parts)}"

    @property
    def families(self) -> dict[str, int]:
        """How many cells each kind of measure has: the family that Holm may have to pay for."""
        kinds = ("digits" if r.cell.evidence.exact else "steps" if r.logarithmic else "final" for r in self.rows)
        return dict(Counter(kinds))

    @property
    def changed(self) -> list[GateRow]:
        """What differs from the baseline in any way, the worst first."""
        shown = [r for r in self.rows if r.verdict.status not in QUIET]
        return sorted(shown, key=lambda r: (ORDER.index(r.verdict.status), r.waived))

    @property
    def reasons(self) -> list[tuple[str, str, str]]:
        """(verdict, cells, why) of what changed; cells that share a verdict and its reason stand together."""
        return _reasons(self.changed)

    @property
    def unmeasured(self) -> list[tuple[str, str, str]]:
        """The same of those that the numbers of the table do not explain."""
        return _reasons([r for r in self.changed if r.waived or not r.measured])

    @property
    def signature(self) -> str:
        """One line that says how the verdicts were reached."""
        b, plan = self.baseline, self.plan
        arms = {r.cell.arm for r in self.rows}
        suites = sorted({f"{a.suite}@{next(iter(b.arms[a].values())).spec['suite_version']}" for a in arms})
        family = ",".join(f"{n} {kind}" for kind, n in sorted(self.families.items()))
        parts = {
            "baseline": f"{b.path.name.removesuffix('.jsonl')}@{b.digest}",
            "suites": ",".join(suites),
            "measures": f"{len(self.rows)} ({family})",
            "screen": f"{seed_ranges(b.screen)} at {_plain(plan.screen_alpha)}",
            "confirm": f"{seed_ranges(b.reserve)}, holm at {_plain(plan.alpha)}" if plan.confirm else
                       f"none, holm at {_plain(plan.alpha)}",
            "test": f"sign-flip (n>={plan.paired_from}) or perm-t, boschloo on rates, one-sided",
            "margin": ",".join(f"{kind}={_margin_text(m)}" for kind, m in sorted(self.margins.items())),
            "rtol": f"{plan.rtol:g}",
            "rng": str(plan.seed),
            "diverged": "worst",
        }  # fmt: skip
        return f"tpobench {self.version}|" + "|".join(f"{k}:{v}" for k, v in parts.items())


def _reasons(rows: Sequence[GateRow]) -> list[tuple[str, str, str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((row.label, row.reason), []).append(row.cell.name)
    return [(label, first_of(names, 2), why) for (label, why), names in groups.items() if why]


def judge(
    cells: Sequence[GateCell],
    report: GateReport,
    waivers: Mapping[str, Waiver],
    **context: Any,
) -> Judgement:
    """Join the gate's verdicts with the cells they are about.  `context`: the other fields of `Judgement`."""
    verdicts = {v.name: v for v in report.verdicts}
    rows = tuple(GateRow(c, verdicts[c.name], waivers.get(c.name)) for c in cells if c.name in verdicts)
    return Judgement(rows, refusal=report.refusal, **context)


def waiver_notes(judgement: Judgement) -> Judgement:
    """With a note for every waiver in force that nothing needs any more."""
    needed = {row.waiver for row in judgement.rows if row.waived}
    waivers = dict.fromkeys(row.waiver for row in judgement.rows if row.waiver is not None)
    idle = [f"waiver of {w.text} is not needed: nothing there has regressed" for w in waivers if w not in needed]
    return replace(judgement, notes=(*judgement.notes, *idle))


def _plain(number: float) -> str:
    return f"{number:g}".removeprefix("0")


def _margin_text(margin: Margin) -> str:
    if margin.logarithmic:
        return f"x{1 + margin.relative:g}"
    return f"{margin.floor:g}" + (f",{margin.relative:g}" if margin.relative else "")
