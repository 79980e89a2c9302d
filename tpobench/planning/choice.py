"""From the words of `--seeds` and the tables of a suite to the design of its runs."""
# ruff: noqa: PLC0415 - a plan of fixed seeds, which most are, must not wait for the statistics of searches and looks

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tpobench.errors import UsageError
from tpobench.planning.design import Design, Fixed
from tpobench.planning.plan import PLAIN_KERNEL, Plan, parse_seeds, plan_runs
from tpobench.suites.load import Suite


@dataclass(frozen=True)
class Choice:
    """What `--seeds` asks for."""

    text: str = ""  # the words; empty: as many as the suite says
    seeds: Sequence[int] | None = None  # all that may be run
    looks: bool = False  # whether it takes them look by look

    def plan(
        self,
        suite: Suite,
        algorithms: Sequence[str] | None = None,
        device: str = "cpu",
        kernel: str = PLAIN_KERNEL,
    ) -> Plan:
        """The runs of a suite that are certain or possible: of a search, its ends.

        Raises:
            UsageError: looks at the seeds of a search; as `plan_runs`.
        """
        if suite.search is not None and self.looks:
            msg = f"--seeds {self.text}: '{suite.name}' searches levels, which take all seeds; give a count such as 20"
            raise UsageError(msg)
        ends = suite.search.ends if suite.search else None
        return plan_runs(suite, algorithms, self.seeds, device, levels=ends, kernel=kernel)

    def design(self, plan: Plan) -> Design:
        """How the runs of such a plan are chosen.

        Raises:
            UsageError: looks at a plan that has nothing to compare, or in which none could decide.
        """
        if plan.specs and self.looks:
            from tpobench.planning.looks import make_plan

            return make_plan(self.text, plan)
        if plan.specs and plan.suite.search is not None:
            from tpobench.planning.levels import Levels

            return Levels(plan)
        return Fixed(plan)


def parse_choice(text: str | None) -> Choice:
    """`20`, `0-9` or `1,3`: these seeds; `adaptive:5x4`: looks at them; None: as many as the suite says.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return Choice()
    if text.strip().startswith("adaptive"):
        from tpobench.planning.looks import seeds_of

        return Choice(text, seeds_of(text), looks=True)
    return Choice(text, parse_seeds(text))
