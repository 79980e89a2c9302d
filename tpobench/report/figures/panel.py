"""What every panel is given: algorithms as lines, each with its runs in one cell and its looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from matplotlib.axes import Axes

from tpobench.report.figures.style import Style, style_of
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.options import ReportOptions


@dataclass(frozen=True)
class Line:
    """An algorithm in one cell: its runs, where there are any, what of them is shown, its name and its looks."""

    algorithm: str
    cell: Cell | None
    label: str
    style: Style
    metric: str | None = None  # None is the suite's score
    times: float = 1.0
    suite: str = ""
    failed: bool = False  # whether a run failed or was skipped

    @property
    def arm(self) -> Arm | None:
        """Its finished runs."""
        return self.cell.arms.get(self.algorithm) if self.cell else None

    @property
    def scale(self) -> float:
        """100 for a score that is a share, 1 for anything else; as often as the line is taken."""
        return self.times * (self.cell.reporting.scale if self.cell and self.metric is None else 1.0)


class Panel(Protocol):
    """One pair of axes."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def x(self) -> str: ...  # noqa: D102
    @property
    def y(self) -> str: ...  # noqa: D102
    @property
    def lines(self) -> Sequence[Line]: ...  # noqa: D102
    @property
    def from_zero(self) -> bool: ...  # noqa: D102

    def draw(self, ax: Axes, options: ReportOptions) -> None:
        """Draw what was run; nothing where nothing was."""


def line_of(cell: Cell, algorithm: str, metric: str | None = None) -> Line:
    """An algorithm in a cell, under its name and in its fixed style."""
    arm = cell.arms.get(algorithm)  # of a class that is drawn as one, the first member's
    return Line(algorithm, cell, algorithm, style_of(arm.algorithm if arm else algorithm), metric, suite=cell.suite)


def lines_of(cell: Cell, algorithms: Iterable[str], metric: str | None = None) -> list[Line]:
    """Several algorithms in a cell."""
    return [line_of(cell, name, metric) for name in algorithms]


def with_runs(panels: Iterable[Panel]) -> list[Line]:
    """The lines of all panels that have runs."""
    return [line for panel in panels for line in panel.lines if line.arm]


def missing(lines: Iterable[Line]) -> str:
    """Why a panel, or the place of a line in it, is empty."""
    return "no finished run" if any(line.failed for line in lines) else "not run"
