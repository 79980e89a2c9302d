"""Common random numbers: every random draw is a function of (suite, cell, seed, role, step), never of the algorithm.

Counter-based streams (Philox 4x64): the key is a hash of suite, cell, seed and role, the counter holds the step, so
the draws of a step need no history, and two algorithms at the same step see the same prompts and the same uniforms
however many numbers each of them takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

SEED_SCHEME = "philox4x64/sha256(suite,cell,seed,role)/1"
AHEAD = 16
"""Steps whose random numbers are drawn at once for a device."""
Draw = Callable[[np.random.Generator], np.ndarray]
Kind = tuple[str | int, ...]


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
        uniform = self._sent(role, step, ("uniform", *shape), lambda stream: stream.random(shape), self.dtype)
        return uniform.clamp_max(1 - 2.0**-24)  # rounding to float32 must not reach 1

    def normal(self, role: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normals, (S, *shape)."""
        return self._sent(role, step, ("normal", *shape), lambda stream: stream.standard_normal(shape), self.dtype)

    def integers(self, role: str, step: int, high: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform integers in [0, high), (S, *shape), int64."""
        kind: Kind = ("integers", high, *shape)
        return self._sent(role, step, kind, lambda stream: stream.integers(high, size=shape), torch.int64)

    def _drawn(self, role: str, step: int, draw: Draw) -> np.ndarray:
        """What every seed's stream gives at `step`, on the host: (S, ...)."""
        return np.stack([draw(self.generator(role, seed, step)) for seed in self.seeds])

    def _sent(self, role: str, step: int, kind: Kind, draw: Draw, dtype: torch.dtype) -> Tensor:  # noqa: ARG002
        """The same on the device; `kind` tells draws of one role apart."""
        return torch.from_numpy(self._drawn(role, step, draw)).to(device=self.device, dtype=dtype)


@dataclass(frozen=True)
class NoiseAhead(Noise):
    """The same numbers, drawn for AHEAD steps at once and sent in one copy, so that no step waits for the device.

    Those of step 0 are sent alone: what makes the untrained policy is not asked for again.
    """

    _blocks: dict[tuple[str, Kind], tuple[int, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def _sent(self, role: str, step: int, kind: Kind, draw: Draw, dtype: torch.dtype) -> Tensor:
        if step == 0:
            return super()._sent(role, step, kind, draw, dtype)
        block, place = divmod(step - 1, AHEAD)
        if self._blocks.get((role, kind), (-1,))[0] != block:
            steps = range(1 + block * AHEAD, 1 + (block + 1) * AHEAD)
            drawn = torch.from_numpy(np.stack([self._drawn(role, each, draw) for each in steps])).to(dtype)
            if torch.device(self.device).type == "cuda":
                drawn = drawn.pin_memory()  # other memory is copied while the host waits
            self._blocks[role, kind] = block, drawn.to(self.device, non_blocking=True)
        return self._blocks[role, kind][1][place]
