"""Tables in Markdown, and the places of a document that a script fills."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], others: str = "---:") -> str:
    """Plain Markdown; the first column to the left, the others to the right unless `others` says otherwise."""
    align = ["---"] + [others] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *rows))


def put_between(document: str, begin: str, end: str, text: str, *, name: Path | str) -> str:
    """The document with what lies between two markers replaced; `name` is what an error calls the document."""
    head, opened, rest = document.partition(begin)
    _, closed, tail = rest.partition(end)
    if not closed:
        missing = f"'{end}' below '{begin}'" if opened else f"'{begin}'"
        msg = f"{name}: no marker {missing}; put both markers on lines of their own"
        raise SystemExit(msg)
    body = text.strip("\n")  # one blank line on either side, however the text ends
    return f"{head}{begin}\n\n{body}\n\n{end}{tail}"


def fill(path: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two markers of a file."""
    document = path.read_text(encoding="utf-8")
    path.write_text(put_between(document, begin, end, text, name=path), encoding="utf-8")


def page_command(about: str | None, page: Callable[[Path], str], begin: str, end: str) -> None:
    """Print what a page says of a folder of results, or put it into a document between its markers."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--docs", type=Path)
    arguments = parser.parse_args()
    text = page(arguments.results)
    if arguments.docs is None:
        print(text)
    else:
        fill(arguments.docs, begin, end, text)
