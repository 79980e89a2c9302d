"""Starting values of dense layers: Flax's default kernels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tpobench.policies.noise import Noise

TRUNCATED_STD = 0.87962566103423978  # std of a standard normal cut at +-2


def truncated_lecun(noise: Noise, role: str, fan_in: int, size: int) -> Tensor:
    """A kernel's starting values from N(0, 1 / fan_in), cut at two standard deviations: (S, size)."""
    u = noise.uniform(role, 0, (size,)).double()
    low = torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64)).item()
    x: Tensor = torch.special.ndtri(low + u * (1 - 2 * low)) / (TRUNCATED_STD * math.sqrt(fan_in))
    return x.to(noise.dtype)
