"""The ranges of hyperparameters, declared where they are parameters: `*, eta: Temperature = 1.0`.

A published value far outside is a mistake of its reader: within them every algorithm gives finite numbers, by test.
"""

from __future__ import annotations

from typing import Annotated

from tpobench.limits import Within

Temperature = Annotated[float, Within(1e-3, 1e6)]  # what a reward or a gate is divided by
Floor = Annotated[float, Within(0.0, 1.0)]  # what is added to a deviation before it divides
Share = Annotated[float, Within(0.0, 1.0)]  # of a whole
Clip = Annotated[float, Within(0.0, 1.0)]  # how far below 1 a ratio counts, or a log-ratio from 0
ClipHigh = Annotated[float, Within(0.0, 1e3)]  # how far above 1
Cap = Annotated[float, Within(1.0, 1e6)]  # the largest ratio or weight
Coefficient = Annotated[float, Within(0.0, 1e3)]  # of a penalty, or a scale
