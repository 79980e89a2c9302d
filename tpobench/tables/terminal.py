"""A document as text: as wide as it is in a pipe, as wide as the screen on a terminal."""

from __future__ import annotations

import io
import re
import shutil
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len, chop_cells
from rich.text import Text

from tpobench.printable import brief, printable
from tpobench.tables.model import (
    Advice,
    Block,
    Document,
    Figure,
    Glance,
    Heading,
    Legend,
    Lines,
    Table,
    TableCell,
    dense,
    table_of,
)

if TYPE_CHECKING:
    from rich.console import Console

LONGEST = 500  # characters of one entry; CSV and JSON have all of a longer one
MOST_PLACES = 8  # of one advice
NARROWEST = 40  # columns; what is narrower breaks lines itself
GAP = 2  # spaces between columns
MANY = 50  # texts that decide how wide a column becomes
TALL = 2  # lines of an entry, where columns may be left out
EVERYTHING = ("everything", "the same with --full")
ROWS = 40  # of one table that is to be seen at a glance
EASY = 30  # characters of an entry on one line, where a table has to be cut into parts
PART = re.compile(r"\s*(?:\[[^\]]{1,30}\][;,]?|[^\s,;|/]+[,;|/]*|[,;|/]+)")  # kept on one line: intervals and words


@dataclass(frozen=True)
class Screen:
    """How wide a line may be, and whether marks are styles or characters; a pipe has no width and no styles."""

    width: int | None = None
    styled: bool = False


PIPE = Screen()


def screen_of(stream: TextIO) -> Screen:
    """What a stream leads to."""
    if not stream.isatty():
        return PIPE
    console = _console(stream)  # takes a dumb terminal for one of 80 columns
    return Screen(shutil.get_terminal_size((console.width, 0)).columns, styled=not console.is_dumb_terminal)


def _console(stream: TextIO) -> Console:
    from rich.console import Console  # noqa: PLC0415 - a pipe does without

    return Console(file=stream)


def terminal(document: Document, screen: Screen = PIPE) -> str:
    """The blocks below one another; on a screen long entries take several lines, and wide tables several parts."""
    lines: list[Text] = []
    last: Block | None = None
    for block in document.shown("terminal"):
        written = list(_block(block, screen))
        lines += [Text(), *written] if lines and written and _apart(last, block) else written
        last = block if written else last
    return _encoded(lines, screen)


def glance_text(glance: Glance, screen: Screen = PIPE) -> str:
    """The verdict, one table that fits, and the way on."""
    parts: list[list[Text]] = [list(_wrapped(glance.verdict, screen, "bold"))]
    if glance.table is not None:
        title = _wrapped(glance.table.title, screen, "dim") if glance.table.title else ()
        parts.append([*title, *_one(glance.table, screen)])
    notes = [*glance.notes, *(glance.table.notes if glance.table else ())]
    parts.append([line for note in notes for line in _wrapped(note, screen)])
    ends = [line for file in glance.files for line in _wrapped(f"wrote {file}", screen)]
    for what, command in (*glance.then, EVERYTHING):
        line = f"{what}: {command}"
        fits = screen.width is None or cell_len(line) <= screen.width
        ends += map(Text, [line] if fits else [f"{what}:", " " * GAP + command])  # to be copied: never broken
    parts.append(ends)
    lines = [line for part in parts if part for line in (Text(), *part)]
    return _encoded(lines[1:], screen)


def fitted(lines: Iterable[str], screen: Screen = PIPE) -> str:
    """Lines of words, each as far indented as it was."""
    return _encoded((t for x in lines for t in _wrapped(x.lstrip(), screen, indent=len(x) - len(x.lstrip()))), screen)


def aligned(header: Sequence[str], rows: Sequence[Sequence[object]], screen: Screen = PIPE) -> str:
    """Columns of bare values, without a document round them."""
    return _encoded(_grid(table_of(header, rows), screen), screen)


def _encoded(lines: Iterable[Text], screen: Screen) -> str:
    if not screen.styled:
        return "\n".join(line.plain.rstrip() for line in lines)
    console = _console(io.StringIO())
    written = []
    for line in lines:
        line.rstrip()
        written.append("".join(style.render(text) if style else text for text, style, _ in line.render(console)))
    return "\n".join(written)


def _apart(above: Block | None, below: Block) -> bool:
    """A blank line between two blocks: not between advices, nor before what ends a block of lines."""
    if isinstance(above, Advice):
        return not isinstance(below, Advice | Lines)
    return not (isinstance(above, Lines) and isinstance(below, Lines) and below.mark == "code")


def _block(block: Block, screen: Screen) -> Iterator[Text]:
    match block:
        case Table():
            yield from _table(block, screen)
        case Heading():
            yield from _wrapped(block.text, screen, "bold")
        case Lines():
            style = {"strong": "bold", "code": "dim"}.get(block.mark, "")
            wide = PIPE if block.mark == "verbatim" else screen
            for line in block.lines:
                yield from _wrapped("note: " * (block.mark == "quote") + line, wide, style)
        case Legend():
            best, leader = ("bold", "underlined") if screen.styled else ("*", "**")
            yield from _wrapped(f"{best}: {block.best}; {leader}: {block.leader}. {block.more}", screen)
        case Advice():
            yield from _wrapped(block.what, screen, "bold")
            more = len(block.where) - MOST_PLACES
            places = [*block.where[:MOST_PLACES], *([f"and {more} more; --json has all"] if more > 0 else [])]
            for line in (*places, f"why: {block.why}", f"do: {block.remedy}"):
                yield from _wrapped(line, screen, indent=2)
        case Figure(path=path) if path:
            yield from _wrapped(f"figure: {path}", screen)


def _wrapped(line: str, screen: Screen, style: str = "", indent: int = 0) -> Iterator[Text]:
    """A line, broken between words, its further lines indented."""
    text = printable(line)
    room = None if screen.width is None else max(screen.width, NARROWEST) - indent - GAP
    parts = [text] if room is None or cell_len(text) <= room + GAP else _broken(text, room)
    for i, part in enumerate(parts):
        yield Text.assemble((" " * (indent + GAP * (i > 0)) + part, style))


def _table(table: Table, screen: Screen) -> Iterator[Text]:
    if table.title:
        yield from _wrapped(table.title, screen, "bold")
    yield from _grid(table, screen)
    for note in table.notes:
        yield from _wrapped(note, screen)
    for line in table.signature.splitlines():
        yield from _wrapped(line, screen, "dim")


@dataclass(frozen=True)
class _Column:
    """One column: its texts, how they are marked, and how wide it is in comfort and at least."""

    name: str
    texts: tuple[str, ...]
    styles: tuple[str, ...]
    right: bool

    @property
    def natural(self) -> int:
        return max(map(cell_len, (self.name, *self.texts)))

    @property
    def least(self) -> int:
        """No interval and no word is broken, unless it is very long."""
        parts = (part.strip() for text in (self.name, *self.texts) for part in PART.findall(text))
        return min(max(map(cell_len, parts), default=0), EASY)

    @property
    def longest(self) -> list[str]:
        """Its longest texts, which say how high it will be."""
        return [self.name, *sorted(set(self.texts), key=cell_len)[-MANY:]]

    @property
    def easy(self) -> int:
        return max(self.least, min(self.natural, EASY))

    @cached_property
    def flat(self) -> int:
        """No entry takes more than TALL lines, and nothing is broken; the header may take one more."""

        def fits(width: int) -> bool:
            return len(_entry(self.name, width)) <= TALL + 1 and all(len(_entry(t, width)) <= TALL for t in self.texts)

        return self.least + bisect(range(self.least, self.natural), 0, key=lambda w: int(fits(w)))


def _grid(table: Table, screen: Screen) -> Iterator[Text]:
    """All columns: where they are too wide together, several parts."""
    columns, said, room = _fitting(table, screen)
    for i, part in enumerate(_parts(columns, room)):
        if i:
            yield Text()
        yield from _lines(part, _widths(part, room))
    yield from said


def _one(table: Table, screen: Screen) -> Iterator[Text]:
    """One part: the first columns that fit with entries of few lines, and a line on what is left out."""
    shown = replace(table, rows=table.rows[:ROWS])
    columns, said, room = _fitting(shown, screen)
    count = len(columns)
    while count > 2 and _total([c.flat for c in columns[:count]]) > room:
        count -= 1
    yield from _lines(columns[:count], _widths(columns[:count], room, flat=True))
    yield from said
    more = len(table.rows) - len(shown.rows)
    names = [*([f"{more} more rows"] if more else []), *(c.name for c in columns[count:])]
    if names:
        yield from _wrapped(f"not shown: {', '.join(names)}", screen, "dim")


def _fitting(table: Table, screen: Screen) -> tuple[list[_Column], list[Text], int]:
    """The columns, what every row says of those that are left out, and the room they have."""
    table = dense(table)
    columns = [_column(name, cells, screen) for name, *cells in zip(table.header, *table.rows, strict=True)]
    natural = _total([c.natural for c in columns])
    if screen.width is None or natural <= screen.width:
        return columns, [], natural
    same = [c for c in columns[1:] if len(set(c.texts)) == 1] if len(table.rows) > 1 else []
    said = f"in every row: {'; '.join(f'{c.name} {c.texts[0]}' for c in same)}"
    rest = [c for c in columns if c not in same]
    return rest, list(_wrapped(said, screen)) if same else [], max(screen.width, NARROWEST)


def _column(name: str, cells: Sequence[TableCell], screen: Screen) -> _Column:
    values = [cell.data.get("value", cell) for cell in cells]
    right = bool(values) and all(v is None or isinstance(v, int | float) for v in values)
    marks = ["" if screen.styled else " **" * c.leader or " *" * c.best for c in cells]
    texts = tuple(brief(c.text, LONGEST) + mark for c, mark in zip(cells, marks, strict=True))
    styles = tuple(" ".join(["bold"] * (c.best or c.alert) + ["underline"] * c.leader) for c in cells)
    return _Column(brief(name, LONGEST), texts, styles, right)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _parts(columns: Sequence[_Column], room: int) -> list[list[_Column]]:
    """The columns in groups that fit, each behind the columns that say which row it is."""
    if _total([c.least for c in columns]) <= room:
        return [list(columns)]
    keys = _keys(columns, room)
    parts = [list(keys)]
    for column in (c for c in columns if c not in keys):
        if len(parts[-1]) > len(keys) and _total([c.easy for c in (*parts[-1], column)]) > room:
            parts.append(list(keys))
        parts[-1].append(column)
    return parts


def _keys(columns: Sequence[_Column], room: int) -> Sequence[_Column]:
    """The first columns that tell all rows apart; the numbers of the rows where those leave little room, or do not."""
    rows = list(zip(*(c.texts for c in columns), strict=True))
    several = (columns[:n] for n in range(1, len(columns)) if len({row[:n] for row in rows}) == len(rows))
    keys = next(several, columns)
    if _total([c.easy for c in keys]) <= room / 2:
        return keys
    return [_Column("#", tuple(str(i) for i in range(1, len(rows) + 1)), ("",) * len(rows), right=True)]


def _widths(columns: Sequence[_Column], room: int, *, flat: bool = False) -> list[int]:
    """From the least widths on, each character to where it saves the most: the sum of squared heights of entries.

    flat: from those on at which entries take few lines.
    """
    if _total([c.natural for c in columns]) <= room:
        return [c.natural for c in columns]
    widths = [c.flat if flat else c.least for c in columns]
    while _total(widths) > room:
        widths[widths.index(max(widths))] -= 1

    @cache
    def height(i: int, width: int) -> int:
        return sum(len(_entry(text, width)) ** 2 for text in columns[i].longest)

    def wider(i: int) -> tuple[float, int, int]:
        """What the next width of a column at which an entry loses a line saves per character."""
        now, most = height(i, widths[i]), room - _total(widths)
        more = 1 + bisect(range(1, most + 1), 0, key=lambda n: int(height(i, widths[i] + n) < now))
        return ((now - height(i, widths[i] + more)) / more, i, more) if more <= most else (0.0, i, 0)

    saved, column, more = max(map(wider, range(len(columns))))
    while saved > 0:
        widths[column] += more
        saved, column, more = max(map(wider, range(len(columns))))
    return widths


def _lines(columns: Sequence[_Column], widths: Sequence[int]) -> Iterator[Text]:
    """The header and the rows, each on as many lines as its longest entry takes."""
    if any(c.name for c in columns):
        heads = [_entry(c.name, w) for c, w in zip(columns, widths, strict=True)]
        tall = max(map(len, heads))
        yield from _row([[""] * (tall - len(h)) + h for h in heads], ["bold"] * len(columns), columns, widths)
    for i in range(len(columns[0].texts)):
        entries = [_entry(c.texts[i], w) for c, w in zip(columns, widths, strict=True)]
        yield from _row(entries, [c.styles[i] for c in columns], columns, widths)


def _entry(text: str, width: int) -> list[str]:
    return [text] if cell_len(text) <= width else _broken(text, width)


def _broken(text: str, width: int) -> list[str]:
    """The text in lines of that width, broken between its parts; a part that is wider itself is cut."""
    lines = [""]
    for part in PART.findall(text):
        if cell_len(lines[-1]) + cell_len(part) <= width:
            lines[-1] += part
        else:
            lines += chop_cells(part.strip(), width)
    return [line.strip() for line in lines if line.strip()] or [""]


def _row(
    entries: Sequence[Sequence[str]], styles: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]
) -> Iterator[Text]:
    for i in range(max(map(len, entries))):
        line = Text()
        for lines, style, column, width in zip(entries, styles, columns, widths, strict=True):
            text = lines[i] if i < len(lines) else ""
            space = " " * (width - cell_len(text))
            line.append(" " * (GAP * bool(line.plain or column is not columns[0])) + space * column.right)
            line.append(text, style)
            line.append(space * (not column.right))
        yield line
