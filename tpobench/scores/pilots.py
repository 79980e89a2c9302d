"""What the seeds at hand say of a comparison to come: the spread of its difference, and the seeds that would tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tpobench.scores.cells import Arm
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import PAIRED, pairing, values_of
from tpobench.scores.scalars import Scalar
from tpobench.stats.guard import Floats
from tpobench.stats.permutation import in_order
from tpobench.stats.power import Power, detection

ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Pilot:
    """Two arms of a cell as the pilot of their own comparison."""

    paired: bool
    losses: Floats  # of the first arm on the common seeds; of an unpaired design the deviations of both
    other: Floats | None  # of the second arm on the common seeds
    runs: int  # seeds at hand
    means: tuple[float, float]
    observed: float  # difference of the means


def pilot_of(a: Arm, b: Arm, scalar: Scalar) -> Pilot:
    """Their losses as the test compares them."""
    paired = pairing(a, b) == PAIRED
    common = set(a.seeds) & set(b.seeds) if paired else None
    u, v = (values_of(arm.by_seed(scalar.losses(arm)), common) for arm in (a, b))
    x, y = (float(values_of(arm.by_seed(scalar.values(arm)), common).mean()) for arm in (a, b))
    observed = 0.0 + scalar.sign * float(u.mean() - v.mean())
    losses, other = (u, v) if paired else (np.concatenate(in_order(u - u.mean(), v - v.mean())), None)
    return Pilot(paired, losses, other, min(len(u), len(v)), (x, y), observed)


def seeds_that_tell(a: Arm, b: Arm, scalar: Scalar, family: int) -> Power:
    """Seeds after which a difference like the observed one would be found, in a family of so many tests."""
    pilot = pilot_of(a, b, scalar)
    return detection(
        pilot.losses, rng=np.random.default_rng(SEED), target=abs(pilot.observed) or None, runs=pilot.runs, alpha=ALPHA,
        power=POWER, family=family, paired_with=pilot.other, only_needed=True,
    )  # fmt: skip
