"""One document, six texts: the terminal, Markdown, LaTeX and HTML round what CSV and JSON hold in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tpobench.tables.exports import csv_text, json_text
from tpobench.tables.latex import latex
from tpobench.tables.markdown import markdown
from tpobench.tables.model import Document
from tpobench.tables.page import html_page
from tpobench.tables.terminal import terminal

WRITERS: Mapping[str, Callable[[Document], str]] = {
    "terminal": terminal, "md": markdown, "latex": latex, "html": html_page, "csv": csv_text, "json": json_text,
}  # fmt: skip
ENDINGS = {"md": "md", "latex": "tex", "html": "html", "csv": "csv", "json": "json"}  # of files
