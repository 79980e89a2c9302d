"""Main effects of the parts of algorithms, for the cells whose algorithms are a full grid of them."""

from __future__ import annotations

from collections.abc import Sequence

from tpobench.report.tables import comparison_cells
from tpobench.scores.cells import Cell
from tpobench.scores.effects import Effects, Share, effects_of
from tpobench.scores.reporting import Reporting
from tpobench.scores.scalars import Scalar
from tpobench.scores.text import share_text
from tpobench.tables.model import Table, TableCell

PARTS = (
    "Cell", "Factor", "Part", "Mean", "Part − others [95% CI]", "P(part better) [95% CI]", "p", "Holm p", "Least p",
    "Tests", "Part is",
)  # fmt: skip
SHARES = ("Cell", "Factor", "Share of the spread [95% CI]")
PART_NOTE = "Mean over seeds and over all parts of the other factors; the others are those of the same factor"
SHARE_NOTE = (
    "Share of the sum of squares between the algorithms' means; together: what neither factor explains alone. Noise of "
    "few seeds counts as spread"
)


def effect_tables(cells: Sequence[Cell], final: Scalar, signature: str) -> list[Table]:
    """Every part against the others, and the share of each factor; none where no cell is a full grid."""
    effects = [e for cell in cells if (e := effects_of(cell)) is not None]
    if not effects:
        return []
    parts = tuple(row for e in effects for row in _parts(e, final))
    shares = tuple(_share(e, share) for e in effects for share in e.shares)
    title = f"Main effects: {final.bare_title}"
    families = "+".join(sorted({str(c.family) for e in effects for c in e.parts.values() if c.p is not None})) or "0"
    signed = "|".join(f"adj:holm/{families}" if part.startswith("adj:") else part for part in signature.split("|"))
    return [
        Table("effects", title, PARTS, parts, signed, (PART_NOTE,)),
        Table("shares", "Which half earns it", SHARES, shares, notes=(SHARE_NOTE,)),
    ]


def _parts(effects: Effects, final: Scalar) -> list[tuple[TableCell, ...]]:
    reporting: Reporting = effects.cell.reporting
    return [
        comparison_cells(
            (effects.cell.label, factor, part, f"{effects.means[factor, part] * reporting.scale:.3g}"),
            final.difference(comparison), comparison.verdict(), reporting.scale,
        )
        for (factor, part), comparison in effects.parts.items()
    ]  # fmt: skip


def _share(effects: Effects, share: Share) -> tuple[TableCell, ...]:
    text = share_text(share.value, share.low, share.high) or "all alike"
    return (TableCell(effects.cell.label), TableCell(share.factor), TableCell(text, data=vars(share)))
