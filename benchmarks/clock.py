"""What the benchmarks of training steps measure with: laps of processor time, and the speed of a matrix product."""

from __future__ import annotations

import time
from collections import defaultdict

import torch


class Laps:
    """Milliseconds of processor time by part; each lap ends where the next begins."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._clock = time.process_time()

    def __call__(self, part: str) -> None:
        """Count the time since the last lap for a part."""
        now = time.process_time()
        self.spent[part] += 1e3 * (now - self._clock)
        self._clock = now

    def restart(self) -> None:
        """What happened since the last lap counts for no part."""
        self._clock = time.process_time()


def matmul_peak(seconds: float = 1.0) -> float:
    """Floating-point operations per second of a 1024 x 1024 product on this thread."""
    a = torch.randn(1024, 1024)
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        a @ a
        done += 1
    return done * 2 * 1024**3 / (time.process_time() - start)
