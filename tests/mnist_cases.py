"""The recorded cases of the authors' code that the tests of the MNIST bandit read."""

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


def cases(function: str) -> list[Case]:
    """Every recorded call of one function."""
    with np.load(Path(__file__).parent / "extracts" / "mnist_cases.npz") as archive:
        data, index = archive["data"], json.loads(archive["index"].tobytes())
    return [Case(record, data) for record in index if record["id"].startswith(f"{function}/")]
