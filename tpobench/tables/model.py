"""What every writer gets: a document of blocks, and tables of entries that hold a text and its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

Format = Literal["terminal", "md", "latex", "html"]  # that are written from blocks; CSV and JSON are numbers
Mark = Literal["", "bullet", "strong", "quote", "code", "verbatim"]  # the last to be copied: never wrapped
PLACE = "PATH"  # of the results, in a command
PAGES: tuple[Format, ...] = ("md", "latex", "html")  # that have a title; a terminal is told with what it shows
# Functions of templates/page.js.
Drawing = Literal["choices", "curves", "finals", "profile", "pairs", "breaking", "levels"]


@dataclass(frozen=True)
class TableCell:
    """One entry: its rounded text, how it is marked, and its numbers in full."""

    text: str
    best: bool = False  # the best or not distinguishable from it: bold
    leader: bool = False  # the best point estimate: underlined
    data: Mapping[str, Any] = field(default_factory=dict)
    alert: bool = False  # what must not be missed: bold


def value_cell(value: object) -> TableCell:
    """An entry that is one value: `-` for none, six digits of a float, whose others CSV has."""
    text = "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return TableCell(text, data={"value": value})


def numbers_of(estimate: object) -> dict[str, Any]:
    """The fields of an estimate or a comparison, by name: `asdict` would copy each of them deeply."""
    return dict(vars(estimate))


@dataclass(frozen=True)
class Block:
    """A part of a document, and the formats that do without it."""

    without: tuple[Format, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Table(Block):
    """Header, rows, what to read below it, and the signature of how it was computed.

    Raises:
        ValueError: a row has more or fewer cells than the header, which some writer would drop in silence.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    signature: str = ""
    notes: tuple[str, ...] = ()
    folded: bool = False  # long, and read on demand
    narrow: int = 0  # first columns that one column of a paper has room for; 0 is a table as wide as it is

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.rows} - {len(self.header)}
        if lengths:
            msg = f"table {self.name}: a row of {min(lengths)} cells under a header of {len(self.header)}"
            raise ValueError(msg)


def table_of(
    header: Sequence[str], rows: Sequence[Sequence[object]], name: str = "table", title: str = "", **more: Any
) -> Table:
    """A table of bare values."""
    return Table(name, title, tuple(header), tuple(tuple(map(value_cell, row)) for row in rows), **more)


def dense(table: Table) -> Table:
    """Without the columns that are empty in every row: they say nothing."""
    columns = [i for i in range(len(table.header)) if any(row[i].text for row in table.rows)]
    if not columns:
        return table
    rows = tuple(tuple(row[i] for i in columns) for row in table.rows)
    return replace(table, header=tuple(table.header[i] for i in columns), rows=rows)


@dataclass(frozen=True)
class Heading(Block):
    """What begins a section; its name is that of its anchor and of its tables' labels."""

    text: str
    name: str


@dataclass(frozen=True)
class Lines(Block):
    """Paragraphs of a line each, all marked alike."""

    lines: tuple[str, ...]
    mark: Mark = ""


@dataclass(frozen=True)
class Legend(Block):
    """What the marks of the tables below it mean, each in the words of the format."""

    best: str
    leader: str
    more: str


@dataclass(frozen=True)
class Links(Block):
    """Documents beside this one, each in the format of this one: texts, and names of files without their ending."""

    targets: Mapping[str, str]


@dataclass(frozen=True)
class Advice(Block):
    """Something that is wrong: what, where, why that matters, and what to do; `code` in the last two."""

    what: str
    where: tuple[str, ...]
    why: str
    remedy: str


@dataclass(frozen=True)
class Figure(Block):
    """A figure: its name and caption, the files of a browser and of a paper, and its drawing for an HTML page."""

    name: str
    caption: str
    title: str = ""
    path: str = ""  # to link to; empty without a file
    printed: str = ""  # to include
    svg: bytes = b""
    wide: bool = False  # as both columns of a paper


@dataclass(frozen=True)
class View(Block):
    """A part of an HTML page that is drawn where it is read: by which function, and of which numbers."""

    drawing: Drawing
    name: str
    title: str
    caption: str
    data: Mapping[str, Any]
    without: tuple[Format, ...] = field(default=("terminal", "md", "latex"), kw_only=True)


@dataclass(frozen=True)
class Glance:
    """What a terminal shows of a document: a verdict, one table, where the rest is, and what to do next."""

    verdict: str  # one sentence
    table: Table | None = None  # the most important columns first: those without room are left out
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    then: tuple[tuple[str, str], ...] = ()  # what comes next, and its command


class Deferred(Mapping[str, Any]):
    """What is made when it is first looked at: of a report only JSON writes every number."""

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Mapping[str, Any]:
        return self._make()

    def __getitem__(self, key: str) -> Any:
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Document:
    """What a verb answers: blocks to read, and the same in full precision for scripts."""

    title: str
    blocks: tuple[Block, ...]
    data: Mapping[str, Any] = field(default_factory=dict)  # JSON
    records: Records | Callable[[], Records] | None = None  # lines of CSV; without them the entries of the tables
    columns: tuple[str, ...] = ()  # the first ones of CSV, in this order
    glance: Glance | None = None  # without one a terminal shows the blocks

    def shown(self, where: Format) -> Iterator[Block]:
        """The blocks of one format."""
        return (block for block in self.blocks if where not in block.without)

    def told(self, place: object, files: Sequence[str] = ()) -> Document:
        """With the place of the results in the commands that come next, and the files that it was written to."""
        if self.glance is None:
            return self
        then = tuple((what, command.replace(PLACE, str(place))) for what, command in self.glance.then)
        return replace(self, glance=replace(self.glance, files=tuple(files), then=then))

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [block for block in self.blocks if isinstance(block, Table)]
