"""tpobench: the place where a policy-update algorithm proves itself.

suite = load_suite("bandit", ["training.steps=50"])
execute(plan_runs(suite, seeds=range(10)), "results/bandit")
compare("results/bandit", "tpo", "grpo")

docs/python.md has examples of everything here.

algorithms   which candidates gain mass, how parameters move: every policy-update algorithm
api          what a notebook calls, on results or a table of anybody's
audit        any project's table of results
called       packages that are also the function of their name
check        the regression gate
children     child processes: their start, their beginning, and what ended them
cli          the command line
comparison   two algorithms or result sets
engines      the catalogue's algorithms as the losses of other people's trainers
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
recipes      suites of language models for other people's trainers, and their logs as records
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
    from tpobench.api import audit, compare, league, load_table, power, report
    from tpobench.execution import execute
    from tpobench.planning.plan import plan_runs
    from tpobench.records.results import load_results
    from tpobench.report import write_report
    from tpobench.suites.load import SUITES, load_suite, register_suite
    from tpobench.tasks.catalog import TASKS, register_task

__version__ = "0.1.0"
__all__ = [
    "ALGORITHMS", "SUITES", "TASKS", "audit", "compare", "execute", "league", "load_results", "load_suite",
    "load_table", "plan_runs", "power", "register", "register_suite", "register_task", "report", "write_report",
]  # fmt: skip

_HOME = {
    "load_suite": "suites.load",
    "SUITES": "suites.load",
    "register_suite": "suites.load",
    "plan_runs": "planning.plan",
    "execute": "execution",
    "load_results": "records.results",
    "load_table": "api",
    "write_report": "report",
    "compare": "api",
    "power": "api",
    "ALGORITHMS": "algorithms.catalog",
    "register": "algorithms.catalog",
    "TASKS": "tasks.catalog",
    "register_task": "tasks.catalog",
}
_CALLED = {"audit", "league", "report"}  # packages that are functions too


moved.install()


def __getattr__(name: str) -> object:
    """Import what a notebook needs at its first use: `import tpobench` itself stays instant."""
    if name in _CALLED:
        return importlib.import_module(f"tpobench.{name}")
    if name not in _HOME:
        msg = f"module 'tpobench' has no attribute '{name}'"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(f"tpobench.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
