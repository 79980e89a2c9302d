"""The only place with colours: one fixed style per algorithm, the same in every figure.

The fourteen of the TPO paper are told apart by colour; of all others the family decides the colour, and the place in it
line and marker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex

from tpobench.algorithms.catalog import BUILT_IN, base, family_of

# Okabe-Ito without its yellow, which is too light on white: told apart under every common colour blindness.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
WINE, OLIVE = "#882255", "#7A7A1F"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
ALL_COLOURS = (*COLOURS, WINE, OLIVE)
FAMILY_COLOURS = {
    "target": BLUE, "grpo": VERMILLION, "ratio": ORANGE, "ppo": GREEN, "dg": PURPLE, "reinforce": BLACK,
    "regression": SKY, "weighted": WINE, "preference": OLIVE, "oracle": BLACK,
}  # fmt: skip
DARK = {BLACK: "#F0F0F0", BLUE: "#3A94D6", WINE: "#CF6F9E"}  # on a dark page, where the others can be seen as they are
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "d", "h", "8", "*", "H")
THIN = ("x", "+", "1", "2", "3", "4")  # of modified algorithms, which keep colour and line of what they modify
GREY = "#8a8a8a"


@dataclass(frozen=True)
class Style:
    """How one algorithm looks in every figure."""

    colour: str
    line: str
    marker: str


PAPER = {
    "tpo": Style(BLUE, "-", "o"),
    "tpo_token": Style(BLUE, "--", "d"),
    "tpo_no_anchor": Style(SKY, "--", "v"),
    "group_pg": Style(SKY, ":", "P"),
    "grpo": Style(VERMILLION, "-", "s"),
    "grpo_token": Style(VERMILLION, "--", "h"),
    "grpo_batch": Style(VERMILLION, "-.", "8"),
    "grpo_no_kl": Style(ORANGE, "--", "^"),
    "grpo_masked": Style(ORANGE, ":", "<"),
    "ppo": Style(GREEN, "-.", "D"),
    "dg": Style(PURPLE, "-", "X"),
    "dg_multi_epoch": Style(BLACK, "-.", "*"),
    "reinforce": Style(BLACK, ":", "p"),
    "ce": Style(BLACK, "--", ">"),
}


def _styles() -> dict[str, Style]:
    """The paper's; for every other name what none of its family, and none of its colour, has."""
    styles = dict(PAPER)
    for name in (name for name in BUILT_IN if name not in PAPER):
        family = family_of(name)
        colour = FAMILY_COLOURS[family]
        taken = {(s.line, s.marker) for n, s in styles.items() if s.colour == colour or family_of(n) == family}
        pairs = ((LINES[i % len(LINES)], MARKERS[i % len(MARKERS)]) for i in range(len(LINES) * len(MARKERS)))
        styles[name] = Style(colour, *next(pair for pair in pairs if pair not in taken))
    return styles


STYLES = _styles()
ONE_EPOCH = Style(SKY, "-.", "v")  # TPO with one epoch, beside TPO with several
HATCHES = ("", "////", "....", "xxxx")  # bars side by side, told apart without colour
RC: Any = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "figure.labelsize": 8,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 8, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6, "axes.linewidth": 0.7, "lines.linewidth": 1.4, "lines.markersize": 4, "pdf.fonttype": 42,
    "svg.hashsalt": "tpobench", "axes.axisbelow": True, "savefig.dpi": 200, "figure.dpi": 100,
    "axes.unicode_minus": True, "legend.frameon": False,
}  # fmt: skip


_APART: ContextVar[Mapping[str, Style]] = ContextVar("styles", default=MappingProxyType({}))


@contextmanager
def told_apart(algorithms: Iterable[str]) -> Iterator[None]:
    """While it lasts no two of them share colour and line: the later one takes the next that is free."""
    looks: dict[str, Style] = {}
    for name in algorithms:
        style = style_of(name)
        free = ((c, line) for c in (style.colour, *ALL_COLOURS) for line in (style.line, *LINES))
        taken = {(s.colour, s.line) for s in looks.values()}
        colour, line = next((pair for pair in free if pair not in taken), (style.colour, style.line))
        looks[name] = replace(style, colour=colour, line=line)
    token = _APART.set(looks)
    try:
        yield
    finally:
        _APART.reset(token)


def style_of(algorithm: str) -> Style:
    """The fixed style of an algorithm of the catalogue, modified or not; of any other, one that its name decides."""
    if algorithm in _APART.get():
        return _APART.get()[algorithm]
    if algorithm in STYLES:
        return STYLES[algorithm]
    digest = hashlib.sha256(algorithm.encode()).digest()
    if base(algorithm) in STYLES:
        return replace(STYLES[base(algorithm)], marker=THIN[digest[2] % len(THIN)])
    return Style(COLOURS[digest[0] % len(COLOURS)], LINES[digest[1] % 4], MARKERS[digest[2] % len(MARKERS)])


def ramp(count: int) -> list[Style]:
    """Styles of an ordered quantity, from light to dark: the order is seen in grey and under colour blindness."""
    shades = [0.78 * (1 - i / max(1, count - 1)) for i in range(count)]  # viridis above .8 is too light on white
    return [Style(to_hex(mpl.colormaps["viridis"](s)), "-", MARKERS[i % len(MARKERS)]) for i, s in enumerate(shades)]
