"""tpobench: the place where a policy-update rule proves itself.

suite = load_suite("bandit", ["training.steps=50"])
execute(plan_runs(suite, seeds=range(10)), "results/bandit")
load_results("results/bandit").frame()

algorithms   which candidates gain mass, how parameters move: every policy-update algorithm
audit        any project's table of results
check        the regression gate
children     child processes: their start, their beginning, and what ended them
cli          the command line
comparison   two algorithms or result sets
conformance  somebody else's loss against ours
data         data sets
errors       errors a user can meet, with exit codes
execution    plan -> records
exports      finished runs in the forms of other tools
identity     what a run is told apart by
league       all algorithms on the same tasks, as published and with the learning rate tuned
limits       what files, options and settings may hold
lint         what in a result set would mislead
moved        where modules that have moved stand now
paper        the TPO paper, number by number
planning     suite and records -> which runs next
plugins      code of users
policies     how log-probs depend on parameters
printable    text from elsewhere as it may stand in any output
records      what was run
report       tables and figures of records
scores       records -> comparable numbers
stats        estimates, tests and intervals of arrays
suites       files that say what is trained
tables       one table, one document, and their writers
tasks        what is sampled, and how it is scored
training     rollout -> credit -> epochs of fit
units        durations and sizes as people write and read them
watch        a run in progress, from its records alone
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tpobench import moved

if TYPE_CHECKING:
    from tpobench.algorithms.catalog import ALGORITHMS, register
    from tpobench.execution import execute
    from tpobench.planning.plan import plan_runs
    from tpobench.records.results import load_results
    from tpobench.suites.load import SUITES, load_suite, register_suite
    from tpobench.tasks.catalog import TASKS, register_task

__version__ = "0.1.0"
__all__ = [
    "ALGORITHMS", "SUITES", "TASKS", "execute", "load_results", "load_suite", "plan_runs", "register", "register_suite",
    "register_task",
]  # fmt: skip

_HOME = {
    "load_suite": "tpobench.suites.load",
    "SUITES": "tpobench.suites.load",
    "register_suite": "tpobench.suites.load",
    "plan_runs": "tpobench.planning.plan",
    "execute": "tpobench.execution",
    "load_results": "tpobench.records.results",
    "ALGORITHMS": "tpobench.algorithms.catalog",
    "register": "tpobench.algorithms.catalog",
    "TASKS": "tpobench.tasks.catalog",
    "register_task": "tpobench.tasks.catalog",
}


moved.install()


def __getattr__(name: str) -> object:
    """Import what a notebook needs at its first use: `import tpobench` itself stays instant."""
    if name not in _HOME:
        msg = f"module 'tpobench' has no attribute '{name}'"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
