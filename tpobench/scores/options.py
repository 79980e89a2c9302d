"""How a report scores and counts: the choices a reader must be told about."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from tpobench.errors import unknown
from tpobench.stats.estimate import Intervals

Diverged = Literal["worst", "drop", "fail"]
FIGURE_FORMATS = ("png", "pdf", "svg")
FIGURES = (  # kinds of them
    "curves", "tokens", "informative", "sparsity", "sweeps", "reached", "final", "improvement", "diagnostics", "learn",
)  # fmt: skip


@dataclass(frozen=True)
class ReportOptions:
    """Interval of a mean, the paper's conventions or ours, and what becomes of diverged runs.

    Raises:
        UsageError: a value that is none of the valid ones.
    """

    ci: Intervals = "auto"
    paper_compat: bool = False  # last evaluation, first crossing, s.e. with ddof 0, crossing of the mean curve
    diverged: Diverged = "worst"  # scored the worst value; dropped and counted; or refused

    def __post_init__(self) -> None:
        require_valid([self.ci], get_args(Intervals), "interval")
        require_valid([self.diverged], get_args(Diverged), "policy for diverged runs")

    @property
    def paper_intervals(self) -> bool:
        """The paper shows standard errors, unless another interval is asked for."""
        return self.paper_compat and self.ci == "auto"

    @property
    def standard_errors(self) -> bool:
        """Whether what stands beside a mean is its standard error, not a 95% interval."""
        return self.paper_intervals or self.ci == "se"


def require_valid(names: Iterable[str], valid: Collection[str], kind: str) -> None:
    """Names that are all valid.

    Raises:
        UsageError: the first that is not, with the nearest one.
    """
    for name in names:
        if name not in valid:
            raise unknown(kind, name, valid)
