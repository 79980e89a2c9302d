"""The recorded calls of the authors' code that our rules and measurements are compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Case:
    """One recorded call of the reference, in float64."""

    def __init__(self, record: dict[str, Any], data: np.ndarray) -> None:
        self.id: str = record["id"]
        self.kwargs: dict[str, float] = record["kwargs"]
        self._places, self._data = record["arrays"], data

    def __getitem__(self, name: str) -> Tensor:
        offset, shape = self._places[name]
        return torch.from_numpy(self._data[offset : offset + int(np.prod(shape))].reshape(shape).copy())

    def __contains__(self, name: str) -> bool:
        return name in self._places


def recorded_cases(file: str) -> dict[str, list[Case]]:
    """Function -> its recorded calls, of one file of tests/extracts."""
    with np.load(Path(__file__).parent / "extracts" / file) as archive:
        data, index = archive["data"], json.loads(archive["index"].tobytes())
    found: dict[str, list[Case]] = {}
    for record in index:
        found.setdefault(record["id"].split("/")[0], []).append(Case(record, data))
    return found
