"""The report as one HTML page that needs nothing else: styles, tables and figures in one file, no scripts."""

from __future__ import annotations

import base64
import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tpobench import __version__
from tpobench.printable import printable
from tpobench.report.markdown import damaged, grouped
from tpobench.report.model import FigureNote, Report


def html_page(report: Report) -> str:
    """Tables with their marks and signatures, figures drawn into the page, an anchor for each."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            version=__version__,
            problems=grouped(report.problems),
            damaged=damaged(report.quarantined) if report.quarantined else "",
        )
    )


@lru_cache(1)
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("tpobench.report", "templates"),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # what is markup stays as it is
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    found.filters["anchor"] = anchor
    found.filters["drawing"] = drawing
    return found


def anchor(*names: str) -> str:
    """An id that is also readable in a link: `sparse-steps0.1m3`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(names)).strip("-")


def drawing(figure: FigureNote) -> str:
    """A data address: the drawing travels with the page, and its ids meet no other's."""
    return "data:image/svg+xml;base64," + base64.b64encode(figure.svg).decode("ascii")
