"""A document as LaTeX that needs booktabs, and graphicx for its figures: tables and the lines beside them."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tpobench.printable import brief, printable
from tpobench.tables.model import Advice, Block, Document, Figure, Heading, Lines, Table, TableCell

LETTERS = set("ßæøåœłıÆØÅŒŁ¡¿§¶©£")  # beside those with accents
ACCENTS = set("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "↓": r"$\downarrow$",
    "↑": r"$\uparrow$", "−": "$-$", "≤": r"$\le$", "≥": r"$\ge$", "±": r"$\pm$", "×": r"$\times$", "|": r"\textbar{}",
    "–": "--", "—": "---", "…": r"\dots{}", '"': "''", "`": r"\`{}", "\0": "{}", "≈": r"$\approx$", "≠": r"$\ne$",
    "∞": r"$\infty$", "→": r"$\to$", "←": r"$\leftarrow$", "·": r"$\cdot$", "°": r"$^\circ$", "²": "$^2$", "³": "$^3$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$", "η": r"$\eta$",
    "θ": r"$\theta$", "λ": r"$\lambda$", "μ": r"$\mu$", "π": r"$\pi$", "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$",
    "Δ": r"$\Delta$",
}  # fmt: skip
FLOATS = 15  # in a row: of 18 that wait for a page LaTeX takes no other
ROWS = 40  # of one float: what a page holds
LONGEST = 500  # letters of an entry: what is wider than 2,000 of them TeX cannot measure
LONG = 20  # letters from which an entry takes two lines
LONG_HEADING = 14  # the same of a heading, where a table has one column of a paper
HEAD = r"""% tpobench report; needs \usepackage{booktabs}, and \usepackage{graphicx} for its figures and for wide tables
% Figures are looked for beside the paper: \graphicspath{{report/NAME/}} names another folder.
% Restyle: define \tpobest, \tpoleader, \tpofont, \tpostack, \tpochar, \tpoflush, \tpowide or \tpofigure before \input.
\providecommand{\tpobest}[1]{\textbf{#1}}% the best and all that cannot be told from it
\providecommand{\tpoleader}[1]{\underline{#1}}% the best point estimate
\providecommand{\tpofont}{\small}
\providecommand{\tpochar}[2]{\ifdefined\Umathchar#2\else[U+#1]\fi}% a character that pdfTeX has no font for
\providecommand{\tpoflush}{\clearpage}% after many tables, none of which has found its page
\providecommand{\tpostack}[2][t]{\begin{tabular}[#1]{@{}l@{}}#2\end{tabular}}% an entry on several lines
% Shrinks what is wider than the text, leaves the rest alone.
\makeatletter
\providecommand{\tpowide}[1]{\sbox\@tempboxa{#1}\ifdim\wd\@tempboxa>\linewidth
  \@ifundefined{resizebox}{\usebox\@tempboxa}{\resizebox{\linewidth}{!}{\usebox\@tempboxa}}\else\usebox\@tempboxa\fi}
\providecommand{\tpofigure}[1]{\@ifundefined{includegraphics}{\fbox{\texttt{\detokenize{#1}} needs graphicx}}{%
  \includegraphics[width=\linewidth]{#1}}}
\makeatother"""


def tex_escape(text: str) -> str:
    """Plain text on one line for LaTeX, comparison signs and arrows in math."""
    text = printable(text.replace("\n", " "))
    text = re.sub(r"([-,'])(?=\1)", "\\1\0", text)  # two of them would become a dash or a quote
    text = re.sub(r"^(?=[\[*])", "\0", text)  # after \\ a bracket or a star would be its argument
    text = "".join(TEX.get(c) or _letter(c) for c in text)
    return text.replace("$<$=", r"$\le$").replace("$>$=", r"$\ge$")


def _letter(character: str) -> str:
    """The character where every LaTeX has it; other scripts where the engine has them."""
    parts = unicodedata.normalize("NFD", character)
    accented = character < "\u0180" and parts[0].isascii() and ACCENTS.issuperset(parts[1:])
    if accented or character in LETTERS:
        return character
    return f"\\tpochar{{{ord(character):04X}}}{{{character}}}"


def latex(document: Document) -> str:
    r"""Tables to `\input` into a paper that loads booktabs; redefine \tpobest and \tpoleader to restyle."""
    lines, section = [HEAD], Heading(document.title, document.title)
    for block in document.shown("latex"):
        if isinstance(block, Heading):
            section = block
        elif isinstance(block, Table):
            lines += ["", *_table(section, block)]
        elif isinstance(block, Figure) and block.printed:
            lines += ["", *_figure(block)]
        else:
            lines += ["", *beside] if (beside := list(_lines_beside(block))) else []
    return "\n".join(_flushed(lines)) + "\n"


def _figure(figure: Figure) -> Iterator[str]:
    kind = "figure*" if figure.wide else "figure"
    yield f"\\begin{{{kind}}}"
    yield f"\\centering\\tpofigure{{{figure.printed}}}"
    yield f"\\caption{{{tex_escape(figure.caption)}}}"
    yield f"\\label{{fig:{_label(figure.name)}}}"
    yield f"\\end{{{kind}}}"


def _lines_beside(block: Block) -> Iterator[str]:
    """A small paragraph for each line."""
    if isinstance(block, Lines) and block.mark in {"code", "verbatim"}:
        yield from map(_signature, block.lines)
    elif isinstance(block, Lines):
        before, after = {"strong": (r"\textbf{", "}"), "bullet": (r"\textbullet{} ", "")}.get(block.mark, ("", ""))
        yield from (_note(before + tex_escape(line) + after) for line in block.lines)
    elif isinstance(block, Advice):
        yield _note(rf"\textbf{{{tex_escape(block.what)}}}: {_coded(block.why)}. \emph{{Do:}} {_coded(block.remedy)}.")
        yield from (_note(rf"\textbullet{{}} {tex_escape(where)}") for where in block.where)


def _coded(text: str) -> str:
    parts = map(tex_escape, text.split("`"))
    return "".join(rf"\texttt{{{part}}}" if i % 2 else part for i, part in enumerate(parts))


def _note(text: str) -> str:
    return f"{{\\footnotesize\\raggedright {text}\\par}}"


def _signature(line: str) -> str:
    return f"{{\\scriptsize\\raggedright\\ttfamily {_breakable(line)}\\par}}"


def _flushed(lines: Iterable[str]) -> Iterator[str]:
    """Room for the tables that wait, before they are too many for LaTeX."""
    floats = itertools.count(1)
    for line in lines:
        yield line
        if line in {"\\end{table}", "\\end{figure}", "\\end{figure*}"} and next(floats) % FLOATS == 0:
            yield "\\tpoflush"


def _table(section: Heading, table: Table) -> Iterator[str]:
    """One float; of a table longer than a page, one for each part; of a narrow one what a column has room for."""
    if table.narrow:
        rows, left_out = tuple(row[: table.narrow] for row in table.rows), table.header[table.narrow :]
        notes = tuple(note for note in table.notes if note.partition(":")[0] not in left_out)
        table = replace(table, header=table.header[: table.narrow], rows=rows, notes=notes)
    parts = [table.rows[i : i + ROWS] for i in range(0, len(table.rows), ROWS)] or [()]
    title = ": ".join(tex_escape(text) for text in (section.text, table.title) if text)
    for i, rows in enumerate(parts):
        yield "\\begin{table}"
        yield "\\centering" + ("\\footnotesize\\setlength{\\tabcolsep}{3pt}" if table.narrow else "\\tpofont")
        yield f"\\caption{{{title}{' (continued)' if i else ''}.}}"
        if i == 0:
            yield f"\\label{{tab:{_label(section.name)}-{_label(table.name)}}}"
        yield from _tabular(table.header, rows, narrow=table.narrow > 0)
        yield ""
        for note in table.notes if i == len(parts) - 1 else ():
            yield _note(f"{tex_escape(note)}.")
        yield from map(_signature, table.signature.splitlines())
        yield "\\end{table}"


def _tabular(header: Sequence[str], rows: Sequence[Sequence[TableCell]], *, narrow: bool) -> Iterator[str]:
    """Long entries on several lines, broken at a separator."""
    separator, most = (", ", LONG_HEADING) if narrow else ("; ", LONG)
    yield f"\\tpowide{{\\begin{{tabular}}{{@{{}}{'l' * len(header)}@{{}}}}"
    yield "\\toprule"
    yield " & ".join(_heading(text, most) for text in header) + " \\\\"
    yield "\\midrule"
    for row in rows:
        yield " & ".join(_cell(cell, separator) for cell in row) + " \\\\"
        if any(len(_lines(cell.text, separator)) > 1 for cell in row):
            yield "\\addlinespace[2pt]"
    yield "\\bottomrule"
    yield "\\end{tabular}}"


def _label(name: str) -> str:
    return re.sub("[^A-Za-z0-9.-]", "-", name)


def _breakable(line: str) -> str:
    """A signature may break after each of its parts."""
    return tex_escape("|").join(tex_escape(part) + r"\allowbreak" for part in line.split("|"))


def _heading(text: str, most: int) -> str:
    """A long heading on two lines, broken after a comma or near its middle."""
    text = brief(text.replace("\n", " "), LONGEST)
    before, comma, after = text.partition(", ")
    if len(text) <= most:
        return tex_escape(text)
    if not comma:
        middle = min((i for i, c in enumerate(text) if c == " "), key=lambda i: abs(i - len(text) / 2), default=0)
        before, after = text[:middle], text[middle + 1 :]
    return _stacked([tex_escape(before + comma.rstrip()), tex_escape(after)], "[b]") if before else tex_escape(text)


def _cell(cell: TableCell, separator: str) -> str:
    """A long entry on as many lines as it has parts, each with its marks."""
    parts = _lines(cell.text, separator)
    mark = separator.strip()
    return _stacked([_marked(part + mark * (i < len(parts)), cell) for i, part in enumerate(parts, 1)])


def _lines(text: str, separator: str) -> list[str]:
    text = brief(text.replace("\n", " "), LONGEST)
    return text.split(separator) if len(text) > LONG and (separator == "; " or "[" not in text) else [text]


def _marked(text: str, cell: TableCell) -> str:
    text = tex_escape(text)
    text = f"\\tpoleader{{{text}}}" if cell.leader else f"\\textbf{{{text}}}" if cell.alert else text
    return f"\\tpobest{{{text}}}" if cell.best else text


def _stacked(lines: Sequence[str], at: str = "") -> str:
    return lines[0] if len(lines) == 1 else f"\\tpostack{at}{{" + " \\\\ ".join(lines) + "}"
