"""The tables as LaTeX that needs booktabs and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tpobench.report.model import Report, Section, Table, TableCell

TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "↓": r"$\downarrow$",
    "↑": r"$\uparrow$", "−": "$-$", "≤": r"$\le$", "≥": r"$\ge$", "±": r"$\pm$", "×": r"$\times$", "|": r"\textbar{}",
    "–": "--", "…": r"\dots{}", '"': "''", "\n": " ", "\0": "{}",
}  # fmt: skip
ROWS = 40  # of one float: what a page holds
LONG = 20  # letters from which an entry takes two lines
HEAD = r"""% tpobench report; needs \usepackage{booktabs}
% Restyle: define \tpobest, \tpoleader, \tpofont, \tpostack or \tpowide before \input.
\providecommand{\tpobest}[1]{\textbf{#1}}% the best and all that cannot be told from it
\providecommand{\tpoleader}[1]{\underline{#1}}% the best point estimate
\providecommand{\tpofont}{\small}
\providecommand{\tpostack}[2][t]{\begin{tabular}[#1]{@{}l@{}}#2\end{tabular}}% an entry on several lines
% Shrinks what is wider than the text, leaves the rest alone.
\makeatletter
\providecommand{\tpowide}[1]{\sbox\@tempboxa{#1}\ifdim\wd\@tempboxa>\linewidth
  \@ifundefined{resizebox}{\usebox\@tempboxa}{\resizebox{\linewidth}{!}{\usebox\@tempboxa}}\else\usebox\@tempboxa\fi}
\makeatother"""


def tex_escape(text: str) -> str:
    """Plain text for LaTeX, comparison signs and arrows in math."""
    text = "".join(TEX.get(c, c) for c in text.replace("--", "-\0-"))  # two hyphens would become a dash
    return text.replace("$<$=", r"$\le$").replace("$>$=", r"$\ge$")


def latex(report: Report) -> str:
    r"""Tables to `\input` into a paper that loads booktabs; redefine \tpobest and \tpoleader to restyle."""
    lines = [HEAD]
    for section in report.sections:
        for table in section.tables:
            lines += ["", *_table(section, table)]
        lines += [f"% \\includegraphics{{figures/{f.name}.pdf}} % {f.caption}" for f in section.figures if f.ending]
    for found in report.unverified:
        lines += ["", f"{{\\footnotesize\\raggedright {tex_escape(str(found))}.\\par}}"]
    return "\n".join(lines) + "\n"


def _table(section: Section, table: Table) -> Iterator[str]:
    """One float; of a table longer than a page, one for each part."""
    parts = [table.rows[i : i + ROWS] for i in range(0, len(table.rows), ROWS)] or [()]
    title = f"{tex_escape(section.title or section.suite)}: {tex_escape(table.title)}"
    for i, rows in enumerate(parts):
        yield "\\begin{table}"
        yield "\\centering\\tpofont"
        yield f"\\caption{{{title}{' (continued)' if i else ''}.}}"
        if i == 0:
            yield f"\\label{{tab:{_label(section.suite)}-{_label(table.name)}}}"
        yield from _tabular(table.header, rows)
        yield ""
        for note in table.notes if i == len(parts) - 1 else ():
            yield f"{{\\footnotesize\\raggedright {tex_escape(note)}.\\par}}"
        for line in table.signature.splitlines():
            yield f"{{\\scriptsize\\raggedright\\ttfamily {_breakable(line)}\\par}}"
        yield "\\end{table}"


def _tabular(header: Sequence[str], rows: Sequence[Sequence[TableCell]]) -> Iterator[str]:
    yield f"\\tpowide{{\\begin{{tabular}}{{@{{}}{'l' * len(header)}@{{}}}}"
    yield "\\toprule"
    yield " & ".join(map(_heading, header)) + " \\\\"
    yield "\\midrule"
    for row in rows:
        yield " & ".join(map(_cell, row)) + " \\\\"
        if any(len(_lines(cell.text)) > 1 for cell in row):
            yield "\\addlinespace[2pt]"
    yield "\\bottomrule"
    yield "\\end{tabular}}"


def _label(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in name)


def _breakable(line: str) -> str:
    """A signature may break after each of its parts."""
    return tex_escape("|").join(tex_escape(part) + r"\allowbreak" for part in line.split("|"))


def _heading(text: str) -> str:
    """A long heading on two lines, broken after a comma or near its middle."""
    before, comma, after = text.partition(", ")
    if len(text) <= LONG:
        return tex_escape(text)
    if not comma:
        middle = min((i for i, c in enumerate(text) if c == " "), key=lambda i: abs(i - len(text) / 2), default=0)
        before, after = text[:middle], text[middle + 1 :]
    return _stacked([tex_escape(before + comma.rstrip()), tex_escape(after)], "[b]") if before else tex_escape(text)


def _cell(cell: TableCell) -> str:
    """A long entry on as many lines as it has parts, each with its marks."""
    parts = _lines(cell.text)
    return _stacked([_marked(part + ";" * (i < len(parts)), cell) for i, part in enumerate(parts, 1)])


def _lines(text: str) -> list[str]:
    return text.split("; ") if len(text) > LONG else [text]


def _marked(text: str, cell: TableCell) -> str:
    text = tex_escape(text)
    text = f"{{}}{text}" if text.startswith("[") else text  # after \\ a bracket would be a length
    text = f"\\tpoleader{{{text}}}" if cell.leader else text
    return f"\\tpobest{{{text}}}" if cell.best else text


def _stacked(lines: Sequence[str], at: str = "") -> str:
    return lines[0] if len(lines) == 1 else f"\\tpostack{at}{{" + " \\\\ ".join(lines) + "}"
