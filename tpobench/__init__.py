"""tpobench: the place where a policy-update rule proves itself.

suite = load_suite("bandit", ["training.steps=50"])
execute(plan_runs(suite, seeds=range(10)), "results/bandit")
load_results("results/bandit").frame()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tpobench.algorithms.catalog import ALGORITHMS, register
    from tpobench.execution import execute
    from tpobench.plan import plan_runs
    from tpobench.results import load_results
    from tpobench.suite import load_suite

__version__ = "0.1.0"
__all__ = ["ALGORITHMS", "execute", "load_results", "load_suite", "plan_runs", "register"]

_HOME = {
    "load_suite": "tpobench.suite",
    "plan_runs": "tpobench.plan",
    "execute": "tpobench.execution",
    "load_results": "tpobench.results",
    "ALGORITHMS": "tpobench.algorithms.catalog",
    "register": "tpobench.algorithms.catalog",
}


def __getattr__(name: str) -> object:
    """Import what a notebook needs at its first use: `import tpobench` itself stays instant."""
    if name not in _HOME:
        msg = f"module 'tpobench' has no attribute '{name}'"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
