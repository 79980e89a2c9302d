"""csv and parquet: one row per run and recorded step."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tpobench.records.results import Results
from tpobench.records.shapes import AXES

if TYPE_CHECKING:
    import pandas as pd


def csv_files(results: Results) -> dict[str, bytes]:
    """UTF-8 with a header; a float in the fewest digits that give it back, empty where there is none."""
    return {"runs.csv": _table(results).to_csv(index=False, lineterminator="\n").encode()}


def parquet_files(results: Results) -> dict[str, bytes]:
    """The same table with the type of each column; a column of numbers and words is one of words."""
    table = _one_type(_table(results))
    content = io.BytesIO()
    table.to_parquet(content, engine="pyarrow", index=False)
    return {"runs.parquet": content.getvalue()}


def _table(results: Results) -> pd.DataFrame:
    """Whole steps stay whole where a run has none."""
    table = results.frame()
    axes = table.columns.intersection(list(AXES))
    return table.assign(**table[axes].convert_dtypes())


def _one_type(table: pd.DataFrame) -> pd.DataFrame:
    mixed = [n for n, column in table.items() if len({type(v) for v in column.dropna()}) > 1]
    return table.assign(**{str(n): table[n].map(str, na_action="ignore").astype("str") for n in mixed})
