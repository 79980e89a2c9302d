"""The design of a check's runs: a screen of every arm, then the reserve seeds of what it flags."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from tpobench.check.arms import ArmKey
from tpobench.check.baseline import Baseline
from tpobench.check.evidence import Candidate, GateCell, candidate_of, gate_cells
from tpobench.check.plans import due, plan_of
from tpobench.planning.design import Known, Round
from tpobench.stats.gate import GatePlan, Margin, refusal, reserve_needed, screen_cells


@dataclass(frozen=True)
class Gate:
    """What is compared with what, by which test, and why some of it cannot be."""

    baseline: Baseline
    plan: GatePlan
    margins: Mapping[str, Margin]
    algorithms: Mapping[str, str]  # every algorithm that can be run here, with its version
    runs: bool  # whether the results must be of these versions, and what is missing may be run
    different: Mapping[ArmKey, str]
    missing: Mapping[ArmKey, str]
    settings: Callable[[str], Mapping[str, Any] | None]  # of a suite, in the folder that its runs go to

    def replay(self, known: Known) -> GateState:
        """The state after these records of the candidate."""
        return GateState(self, candidate_of(self.baseline, known.values(), self.algorithms if self.runs else None))


@dataclass(frozen=True)
class GateState:
    """How far the candidate's runs have come."""

    gate: Gate
    candidate: Candidate

    @cached_property
    def cells(self) -> list[GateCell]:
        """The evidence so far."""
        gate = self.gate
        return gate_cells(gate.baseline, self.candidate, gate.margins, gate.different, gate.missing)

    def next(self, tried: Collection[str]) -> Round | None:
        """What the candidate lacks of the screen; then, at once, of the reserve."""
        gate = self.gate
        if not gate.runs or refusal(gate.plan, [c.evidence for c in self.cells]):
            return None
        for title, note, seeds, arms in self._stages():
            missing = due(gate.baseline, self.candidate, seeds, arms, gate.algorithms)
            untried = {suite: [s for s in specs if s.run_id not in tried] for suite, specs in missing.items()}
            plans = [plan_of(gate.baseline, s, gate.settings(suite)) for suite, s in untried.items() if s]
            if plans:
                return Round(tuple(plans), title, note)
        return None

    def _stages(self) -> Iterator[tuple[str, str, Sequence[int], list[ArmKey]]]:
        """Title, note, seeds and arms."""
        gate, base = self.gate, self.gate.baseline
        excluded = {**gate.missing, **gate.different, **self.candidate.incomparable}
        yield "screen", "", base.screen, [arm for arm in base.arms if arm not in excluded]
        if gate.plan.confirm:
            flagged = reserve_needed(screen_cells([c.evidence for c in self.cells], gate.plan))
            suspects = list(dict.fromkeys(c.arm for c in self.cells if c.name in flagged))
            note = f"confirming {len(flagged)} flagged cells on {len(base.reserve)} reserve seeds"
            yield "confirm", note, base.reserve, suspects

    def progress(self, before: Self, number: int) -> str:  # noqa: ARG002 - the verdicts are told at the end
        """Nothing before the verdicts."""
        return ""
