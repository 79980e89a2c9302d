"""What a function answers with in Python: objects that show themselves as the command line would."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tpobench.errors import unknown
from tpobench.tables.exports import records_of
from tpobench.tables.model import Document

if TYPE_CHECKING:
    import pandas as pd


class Readable(ABC):
    """Printed as on a terminal, in a notebook as Markdown; `text` has the other formats, `frame` the numbers."""

    @abstractmethod
    def document(self) -> Document:
        """What there is to read."""

    def text(self, format_: str = "md") -> str:
        """As terminal, md, latex, html, csv or json.

        Raises:
            UsageError: there is no such format.
        """
        from tpobench.tables.writers import WRITERS  # noqa: PLC0415 - nobody waits for jinja before it is needed

        if format_ not in WRITERS:
            raise unknown("format", format_, WRITERS)
        return WRITERS[format_](self.document())

    def frame(self) -> pd.DataFrame:
        """The lines of CSV, in full precision."""
        import pandas as pd  # noqa: PLC0415 - nor for pandas

        return pd.DataFrame(records_of(self.document()))

    def __str__(self) -> str:
        return self.text("terminal")

    def _repr_markdown_(self) -> str:
        return self.text("md")
