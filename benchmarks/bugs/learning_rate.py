"""A learning rate off by 2: the algorithms are right, the step is twice or half as long as the suite says.

A factor of the loss would be no bug here: normalised steps and Muon do not see it, Adam up to its epsilon.  So the
factor is applied to the learning rate itself, by whoever runs these algorithms.
"""

from dataclasses import replace

from tpobench import ALGORITHMS, register

for name in ("tpo_double_rate", "tpo_half_rate", "grpo_double_rate"):
    register(replace(ALGORITHMS[name.split("_", maxsplit=1)[0]], name=name))
