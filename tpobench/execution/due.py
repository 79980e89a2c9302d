"""How far an invocation goes: the jobs of a plan that it has to do, and the least and the most that they may cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tpobench.errors import UsageError
from tpobench.execution.estimate import Costs
from tpobench.execution.work import shard_of
from tpobench.identity import canonical
from tpobench.planning.design import State
from tpobench.planning.plan import Job, Plan, RunSpec
from tpobench.records.store import BROKEN, FINISHED, RunRecord
from tpobench.tasks.catalog import task_settings
from tpobench.units import duration, size


@dataclass(frozen=True)
class Options:
    """How far an invocation goes."""

    time_budget_s: float | None = None  # start no round of seeds that would end later
    max_cost_s: float | None = None  # refuse to start when the runs due are estimated to take more CPU time
    timeout_s: float | None = None  # of one job; default: ten times its estimate, at least ten minutes
    max_attempts: int = 3  # at a run that ends without a result, over all invocations
    retry_failed: bool = False  # however many attempts there were
    shard: tuple[int, int] | None = None  # k of N


def due(plan: Plan, known: Mapping[str, RunRecord], options: Options) -> tuple[list[Job], int]:
    """The jobs of this shard that have no result yet, and the number of runs that are given up."""
    done = {i for i, r in known.items() if r.status in FINISHED}
    tried = {i for i, r in known.items() if r.status in BROKEN and r.attempts >= options.max_attempts}
    given_up = set() if options.retry_failed else tried
    jobs = plan.jobs(done | given_up)
    if options.shard is not None:
        k, shards = options.shard
        jobs = [job for job in jobs if shard_of(job, shards) == k]
    return jobs, sum(s.run_id in given_up for s in plan.specs)


def runs_of(jobs: Iterable[Job]) -> int:
    """How many runs some jobs make."""
    return sum(len(job.specs) for job in jobs)


@dataclass(frozen=True)
class Forecast:
    """The least and the most that a design may still take."""

    least_runs: int
    most_runs: int
    least_cpu_s: float | None  # None where nothing is known of the cost of some jobs
    most_cpu_s: float | None
    unpriced: int = 0  # jobs of which nothing is known


def forecast(state: State, known: Mapping[str, RunRecord], options: Options) -> Forecast:
    """What the runs that may come after these records take."""
    suite = state.runs.suite
    costs = Costs(suite, known, "cpu_s")
    unpriced: set[str] = set()

    def jobs(specs: Sequence[RunSpec]) -> list[Job]:
        return due(Plan(suite, tuple(specs)), known, options)[0]

    def seconds(specs: Sequence[RunSpec]) -> float:
        prices = [(job, costs.of(job)) for job in jobs(specs)]
        unpriced.update(job.key for job, price in prices if price is None)
        return sum(price for _, price in prices if price is not None)

    least_runs, most_runs = state.bounds(lambda specs: float(runs_of(jobs(specs))))
    least_s, most_s = state.bounds(seconds)
    unknown = len(unpriced)
    return Forecast(int(least_runs), int(most_runs), None if unknown else least_s, None if unknown else most_s, unknown)


def require_affordable(states: Iterable[tuple[State, Mapping[str, RunRecord]]], options: Options) -> None:
    """Refuse designs, in the state after what is known of them, that may take more CPU time together than allowed.

    Raises:
        UsageError: they may, or nobody knows.
    """
    if options.max_cost_s is None:
        return
    forecasts = [forecast(state, known, options) for state, known in states]
    limit = duration(options.max_cost_s)
    if unknown := sum(f.unpriced for f in forecasts):
        why = f"the cost of {unknown} jobs is unknown"
        msg = f"--max-cost {limit}: {why}; run one seed before, or give the suite a [cost]"
        raise UsageError(msg)
    most = sum(f.most_cpu_s or 0.0 for f in forecasts)
    if most > options.max_cost_s:
        cost = f"{'take about' if all(f.least_runs == f.most_runs for f in forecasts) else 'may take'} {duration(most)}"
        msg = f"--max-cost {limit}: the runs due {cost} of CPU time; take fewer seeds, algorithms or cells"
        raise UsageError(msg)


def bytes_of(jobs: Iterable[Job]) -> int:
    """Memory of the largest of the jobs on a CPU that may need more than a machine has; 0 where there is none."""
    specs = (job.specs[0] for job in jobs)
    tasks = {(canonical(s.task), s.seed_batch): s.task for s in specs if s.device == "cpu"}
    return max((task_settings(task).job_bytes(seeds) or 0 for (_, seeds), task in tasks.items()), default=0)


def too_large(jobs: Iterable[Job], limit: int) -> str:
    """Why a job does not fit into what it may use, and what to do; empty where it does, or nothing is known."""
    needed = bytes_of(jobs)
    if needed <= limit:
        return ""
    return (
        f"a job needs about {size(needed)} of memory and may use {size(limit)} here; take fewer --jobs, lower "
        "task.prompts, task.candidates or task.new_tokens, or raise --memory-limit if you know better"
    )


def require_room(jobs: Iterable[Job], limit: int) -> None:
    """Refuse jobs that would be ended for their memory after minutes.

    Raises:
        UsageError: one would.
    """
    if why := too_large(jobs, limit):
        raise UsageError(why)
