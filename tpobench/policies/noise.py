"""Common random numbers: every random draw is a function of (suite, cell, seed, role, step), never of the algorithm.

Counter-based streams (Philox 4x64): the key is a hash of suite, cell, seed and role, the counter holds the step, so
the draws of a step need no history, and two algorithms at the same step see the same prompts and the same uniforms
however many numbers each of them takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

SEED_SCHEME = "philox4x64/sha256(suite,cell,seed,role)/1"


@dataclass(frozen=True)
class Noise:
    """The random numbers of a stack of seeds in one cell of one suite."""

    suite: str
    cell: str  # canonical text of the cell's task settings
    seeds: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    _keys: dict[tuple[str, int], int] = field(default_factory=dict, repr=False, compare=False)

    def generator(self, role: str, seed: int, step: int) -> np.random.Generator:
        """The stream of one seed for `role` at `step`."""
        key = self._keys.get((role, seed))
        if key is None:
            text = "\x1f".join((SEED_SCHEME, self.suite, self.cell, str(seed), role))
            key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
            self._keys[role, seed] = key
        return np.random.Generator(np.random.Philox(key=key, counter=step << 64))

    def uniform(self, role: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Uniforms in [0, 1), (S, *shape)."""
        draws = [self.generator(role, seed, step).random(shape) for seed in self.seeds]
        return self._tensor(np.stack(draws)).clamp_max(1 - 2.0**-24)  # rounding to float32 must not reach 1

    def normal(self, role: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normals, (S, *shape)."""
        draws = [self.generator(role, seed, step).standard_normal(shape) for seed in self.seeds]
        return self._tensor(np.stack(draws))

    def integers(self, role: str, step: int, high: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform integers in [0, high), (S, *shape), int64."""
        draws = [self.generator(role, seed, step).integers(high, size=shape) for seed in self.seeds]
        return torch.from_numpy(np.stack(draws)).to(self.device)

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(x).to(device=self.device, dtype=self.dtype)
