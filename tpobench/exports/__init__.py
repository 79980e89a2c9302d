"""Finished runs in the forms of other tools, as the files of a folder.

runs         each run as trackers know it: a path, a configuration and a curve
tables       csv and parquet: one row per run and recorded step
tensorboard  event files, a run in each folder
wandb        offline runs of Weights & Biases
trackio      projects of trackio
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from tpobench.errors import UsageError
from tpobench.records.results import Results

# Format -> the function that makes its files, the package that it needs, and the extra that brings it.
FORMATS: Mapping[str, tuple[str, str, str]] = {
    "csv": ("tables:csv_files", "pandas", ""),
    "parquet": ("tables:parquet_files", "pyarrow", "parquet"),
    "tensorboard": ("tensorboard:event_files", "tensorboard", "tensorboard"),
    "wandb": ("wandb:run_files", "wandb", "wandb"),
    "trackio": ("trackio:project_files", "trackio", "trackio"),
}


def export_files(results: Results, format_: str) -> dict[str, bytes]:
    """Names below a folder, with slashes, and contents.

    Raises:
        UsageError: the package that the format needs is not installed, or too old.
    """
    function, package, extra = FORMATS[format_]
    try:
        if importlib.util.find_spec(package) is None:  # trackio, imported here, would look after the user's projects
            raise ModuleNotFoundError(f"No module named '{package}'")
        module, name = function.split(":")
        make: Any = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ImportError as error:
        msg = f"--to {format_} needs the package {package} ({error}); pip install 'tpobench[{extra}]'"
        raise UsageError(msg) from error
    files: dict[str, bytes] = make(results)
    return files
