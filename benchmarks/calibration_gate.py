"""The decision rule of `check` on 40 noisy cells: alarms when nothing changed, and power when one cell did.

The candidate has fresh seeds throughout, so that the exact stage never helps it; a real check runs the same seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from calibration_populations import Population, noisy_cells, stream

from tpobench.stats import gate, gate_tests
from tpobench.stats.gate import MARGINS, CellEvidence, GatePlan, Margin, decide

MARGIN = {"none": Margin(), "default": MARGINS["error"]}
RESAMPLES = 1999  # the family of 40 asks for 9999; p = .0005 is still far below .05 / 40
CONFIRM, ONE_SHOT, ONE_SHOT_ALL, TEN = (
    "screen and confirm (check)",
    "one-shot Holm, screen seeds",
    "one-shot Holm, all seeds",
    "mean 10% worse, all seeds",
)  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """40 cells of n screen and n reserve seeds; one of them worse by `shift` sd, unless 0."""

    n: int
    shift: float
    margin: str
    others: str  # "noisy": fresh seeds everywhere; "unchanged": bitwise equal


@dataclass(frozen=True)
class GateRate:
    """Share of the checks in which the rule fired: anywhere (nothing changed), or in the cell that was changed."""

    rule: str
    n: str
    margin: str
    shift: float
    others: str
    repeats: int
    rate: float
    se: float

    def as_dict(self) -> dict[str, Any]:
        """For json."""
        return asdict(self)


@contextmanager
def fewer_resamples(count: int) -> Iterator[None]:
    """Without the seeds that an inconclusive line suggests, and with fewer sign flips: most of the time goes there."""
    shipped = gate.resamples_for, gate_tests.seeds_for_margin
    gate.resamples_for, gate_tests.seeds_for_margin = (lambda *_: count), (lambda *_, **__: None)
    try:
        yield
    finally:
        gate.resamples_for, gate_tests.seeds_for_margin = shipped


def evidence(p: Population, name: str, s: Scenario, rng: np.random.Generator, *, changed: bool) -> CellEvidence:
    """A cell: n screen and n reserve seeds of the baseline, and the same number of other seeds of the candidate."""
    n, added = s.n, s.shift * p.sd if changed else 0.0
    old = p.draw(rng, 2 * n)
    same = s.others == "unchanged" and not changed
    new = old if same else p.draw(rng, 2 * n) + added

    def seeds(values: np.ndarray, start: int) -> dict[int, float]:
        return dict(enumerate(values.tolist(), start))

    return CellEvidence(
        name, seeds(old[:n], 0), seeds(new[:n], 0), MARGIN[s.margin], seeds(old[n:], n), seeds(new[n:], n)
    )


def all_seeds(cell: CellEvidence) -> CellEvidence:
    """The same cell without a reserve."""
    return CellEvidence(
        cell.name,
        {**cell.baseline, **cell.reserve_baseline},
        {**cell.candidate, **cell.reserve_candidate},
        cell.margin,
    )


def ten_percent(cell: CellEvidence) -> bool:
    """The rule of many benchmark bots: the mean is more than 10% worse."""
    whole = all_seeds(cell)
    old, new = (float(np.mean(list(v.values()))) for v in (whole.baseline, whole.candidate))
    return new > 1.1 * old


def fired(cells: list[CellEvidence], seed: int) -> dict[str, set[str]]:
    """The cells that each rule calls regressed."""
    one_shot = GatePlan(confirm=False, seed=seed)
    reports = {
        CONFIRM: decide(cells, GatePlan(seed=seed)),
        ONE_SHOT: decide(cells, one_shot),
        ONE_SHOT_ALL: decide([all_seeds(c) for c in cells], one_shot),
    }
    alarms = {rule: {v.name for v in report.of("regressed")} for rule, report in reports.items()}
    return alarms | {TEN: {c.name for c in cells if ten_percent(c)}}


def gate_rates(s: Scenario, repeats: int, cells: int = 40) -> list[GateRate]:
    """One rate per rule: any alarm where nothing changed, else, in half of the repeats, one changed cell detected."""
    repeats = repeats // 2 if s.shift else repeats
    rng = stream("gate", *asdict(s).values())
    populations = noisy_cells(cells)
    counts = dict.fromkeys((CONFIRM, ONE_SHOT, ONE_SHOT_ALL, TEN), 0)
    with fewer_resamples(RESAMPLES):
        for i in range(repeats):
            changed = i % cells if s.shift else -1
            drawn = [evidence(p, f"c{j}", s, rng, changed=j == changed) for j, p in enumerate(populations)]
            for rule, names in fired(drawn, i).items():
                counts[rule] += (f"c{changed}" in names) if s.shift else bool(names)
    size = f"{s.n} + {s.n}"
    return [
        GateRate(
            rule, size, s.margin, s.shift, s.others, repeats, k / repeats,
            math.sqrt(k / repeats * (1 - k / repeats) / repeats),
        )
        for rule, k in counts.items()
    ]  # fmt: skip


def scenarios() -> list[Scenario]:
    """Nothing changed, and one cell worse by 2 or 1 sd, without a margin and with the default one."""
    noisy = [Scenario(n, 0.0, margin, "noisy") for n in (10, 20) for margin in MARGIN]
    noisy += [Scenario(n, 1.0, "none", "noisy") for n in (10, 20)]
    return noisy + [Scenario(n, d, "default", o) for n in (10, 20) for d in (1.0, 2.0) for o in ("noisy", "unchanged")]
