"""One report, five texts: Markdown, LaTeX and HTML round what CSV and JSON hold in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tpobench.report.data import csv_text, json_text
from tpobench.report.latex import latex
from tpobench.report.markdown import markdown
from tpobench.report.model import Report
from tpobench.report.page import html_page

WRITERS: Mapping[str, Callable[[Report], str]] = {
    "md": markdown, "latex": latex, "csv": csv_text, "json": json_text, "html": html_page,
}  # fmt: skip
ENDINGS = {"md": "md", "latex": "tex", "csv": "csv", "json": "json", "html": "html"}
