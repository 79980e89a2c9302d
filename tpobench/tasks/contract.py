"""What every kind of task promises, tried on a tiny task before anything is trained on it: a fraction of a second.

A promise that is broken makes every algorithm's numbers wrong without a word (seeds that leak into each other, draws
that another algorithm would not see, an error counted as exact that is a share of draws), so the task is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.groups import OPTIONAL, CandidateGroups
from tpobench.algorithms.promises import Breach, Broken, Promise, PromiseResult, line_of, name_of, try_promises
from tpobench.identity import chosen
from tpobench.limits import field_types, load_toml
from tpobench.policies.noise import Noise
from tpobench.tasks.settings import OPTIMIZERS, UNITS, Better, GroupSettings, Metric, TaskSettings
from tpobench.tasks.task import Rollout, Step

Kind = type[TaskSettings]
T = TypeVar("T")
SEEDS = (3, 0, 8)
SHIFT = 0.3  # of a policy from the untrained one, in which much is alike
STEPS = 8  # rollouts among which some must differ
ASCENT = 40  # updates by REINFORCE after which more reward must show
OFFERS = ("candidates", "draws", *OPTIONAL)
FIELDS = (int, float, str, bool)
ROUNDING = 1e-9  # of float64 numbers near 1 that were summed in another order, through a network
REINFORCE = ALGORITHMS["reinforce"]
DIRECTIONS: Mapping[Better, int] = {"lower": -1, "higher": 1, "neither": 0}


@dataclass(frozen=True)
class Tried:
    """A tiny task of a kind, and a policy that has moved by `shift` from the untrained one."""

    settings: TaskSettings
    seeds: tuple[int, ...] = SEEDS
    dtype: torch.dtype = torch.float64
    shift: float = 0.0

    @cached_property
    def task(self) -> Any:
        """The task."""
        noise = Noise("contract", self.settings.kind, self.seeds, dtype=self.dtype)
        return part("task", lambda: self.settings.make(noise))

    @cached_property
    def policy(self) -> Any:
        """Its policy."""
        policy = part("make_policy", self.task.make_policy)
        if self.shift:
            with torch.no_grad():  # every seed alike, no two parameters alike
                flat = policy.theta.flatten(1)
                flat.add_(self.shift * torch.arange(1, flat.shape[1] + 1, dtype=self.dtype).sin())
        return policy

    def rollout(self, step: int = 0) -> Rollout:
        """A rollout of the policy."""
        rollout: Rollout = part("rollout", lambda: self.task.rollout(self.policy, step))
        require(isinstance(rollout, Rollout), "rollout", f"gives {type(rollout).__name__}", "give a Rollout")
        return rollout

    def logp(self, rollout: Rollout, rows: Tensor | None = None) -> Tensor:
        """Log-probs of a rollout's tokens."""
        logp: Tensor = part("logp", lambda: self.task.logp(self.policy, rollout, rows))
        return logp

    def step(self, rollout: Rollout) -> Step:
        """The update that REINFORCE would make."""
        credit = REINFORCE.credit_for(rollout.groups)
        loss = REINFORCE.loss(self.logp(rollout), rollout.groups, credit).mean(1).sum()
        gradient = part("logp", lambda: torch.autograd.grad(loss, list(self.policy.parameters)), GRAPH)
        return Step(rollout, REINFORCE, credit, gradient)

    def measured(self, rollout: Rollout, step: Step) -> dict[str, Mapping[str, Tensor]]:
        """What each of the measuring methods gives."""
        arguments = {"facts": (), "evaluate": (rollout,), "diagnose": (step,), "examine": (step,)}
        return {where: self._measured(where, *last) for where, last in arguments.items()}

    def first_metric(self, rollout: Rollout) -> Tensor | None:
        """The first metric as it is evaluated; None where it is diagnosed, of an update."""
        return self._measured("evaluate", rollout).get(self.settings.metrics[0].name)

    def _measured(self, where: str, *arguments: Any) -> Mapping[str, Tensor]:
        values: Any = part(where, lambda: getattr(self.task, where)(self.policy, *arguments))
        sound = isinstance(values, Mapping) and all(isinstance(x, Tensor) for x in values.values())
        require(sound, where, f"gives {' '.join(repr(values).split()):.60}", "give a tensor for each name, {name: x}")
        measured: Mapping[str, Tensor] = values
        S = len(self.seeds)
        for name, x in measured.items():
            what = f"gives {name} of shape {tuple(x.shape)}" + ", with a gradient" * x.requires_grad
            alone = x.shape == (S,) and not x.requires_grad
            require(alone, where, what, f"give one number for each seed, ({S},), under torch.no_grad()")
        return measured


GRAPH = "compute it from policy.parameters, leaves that require grad, in torch operations"


def part(where: str, call: Callable[[], T], remedy: str = "") -> T:
    """What a method of the task gives.

    Raises:
        Broken: it raised.
    """
    try:
        return call()
    except Exception as error:
        remedy = remedy or "see the methods of Task in tpobench/tasks/task.py, and docs/tasks.md for one that is right"
        raise Broken(Breach(where, f"raises {line_of(error)}", remedy)) from error


def require(condition: bool, where: str, what: str, remedy: str) -> None:  # noqa: FBT001 - an assertion for the user
    """What must hold for everything else to be tried.

    Raises:
        Broken: it does not.
    """
    if not condition:
        raise Broken(Breach(where, what, remedy))


def tiny(kind: Kind, **settings: Any) -> TaskSettings:
    """The settings that a kind is tried with."""
    instance: TaskSettings = part("settings", lambda: kind(**{**kind.tiny, **settings}), "give every setting a default")
    return instance


def _tried(kind: Kind) -> Iterator[Tried]:
    """A tiny task, and where groups can be single, one of those."""
    yield Tried(tiny(kind), shift=SHIFT)
    if issubclass(kind, GroupSettings):
        yield Tried(tiny(kind, candidates=1), shift=SHIFT)


# ---- what is declared


def _declared(kind: Kind) -> Iterator[Breach]:
    wanted = {"task": object, "offers": frozenset, "metrics": tuple, "diagnostics": tuple, "facts": tuple}
    for name, of in wanted.items():
        require(isinstance(getattr(kind, name, None), of), "settings", f"has no {name}", f"say {name}: ClassVar[...] =")
    require(
        "__dataclass_params__" in vars(kind), "settings", "is no dataclass of its own",
        "write @dataclass(frozen=True) above the class, or its settings are none",
    )  # fmt: skip
    types = part("settings", lambda: field_types(kind), "import every type that the class names when it runs")
    for name, of in types.items():
        require(of in FIELDS, "settings", f"has {name} of type {of}", "a setting is an int, a float, a str or a bool")
    names = [m.name for m in (*kind.metrics, *kind.diagnostics, *kind.facts) if isinstance(m, Metric)]
    whole = len(names) == len(set(names)) == sum(map(len, (kind.metrics, kind.diagnostics, kind.facts)))
    require(whole and bool(kind.metrics), "settings", "has metrics that are no Metric, or none, or one twice",
            'write metrics = (Metric("error", "lower", Within(0, 1)),)')  # fmt: skip
    first = kind.metrics[0]
    require(first.better in {"lower", "higher"}, "settings", f"does not say whether {first.name} is better when lower",
            f'write Metric("{first.name}", "lower") or Metric("{first.name}", "higher")')  # fmt: skip
    for what, values, valid in (
        ("offers", kind.offers, OFFERS),
        ("optimizers", kind.optimizers, OPTIMIZERS),
        ("unit", (kind.unit,), UNITS),
        ("counted", kind.counted, types),
        ("unstreamed", kind.unstreamed, types),
        ("tiny", kind.tiny, types),
        ("a metric better when", [m.better for m in (*kind.metrics, *kind.diagnostics)], get_args(Better)),
    ):
        odd = ", ".join(str(v) for v in values if v not in valid)
        require(not odd, "settings", f"has {what} {odd}", f"name some of {', '.join(valid)}")
    settings = tiny(kind)
    for name in ("interactions_per_step", "bytes_per_seed", "scored_rollouts"):
        value = part("settings", lambda name=name: getattr(settings, name))  # type: ignore[misc]
        sound = (type(value) is int and value >= 1) or (name == "scored_rollouts" and value is None)
        require(sound, "settings", f"has {name} {value!r}", f"give {name} as a whole number of at least 1")
    yield from ()


def _survives(kind: Kind) -> Iterator[Breach]:
    """Settings are what a suite file, a spec and a record hold."""
    for settings in (kind(), tiny(kind)):
        values = dataclasses.asdict(settings)
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
        for where, read in (("TOML", load_toml(text)), ("JSON", json.loads(json.dumps(chosen(values, settings))))):
            if kind(**read) != settings:
                remedy = "take settings as they are given: __post_init__ may refuse them, not change them"
                yield Breach("settings", f"are not what they were after {where}", remedy)
                return


# ---- what a rollout is


def _rollouts(kind: Kind) -> Iterator[Breach]:
    for tried in (*_tried(kind), Tried(tiny(kind), dtype=torch.float32)):
        S, dtype = len(tried.seeds), tried.dtype
        parameters = part("make_policy", lambda t=tried: [t.policy.theta, *t.policy.parameters])  # type: ignore[misc]
        size = sum(p.numel() for p in parameters[1:])
        sound = all(p.shape[:1] == (S,) and p.dtype == dtype for p in parameters) and size == parameters[0].numel()
        require(
            sound and all(p.is_leaf and p.requires_grad for p in parameters[1:]), "make_policy",
            "gives no theta (S, ...) with the same numbers in parameters, leaves (S, ...) that require grad",
            f"make one tensor theta of the noise's type ({name_of(dtype)}) and give (theta,) as parameters",
        )  # fmt: skip
        rollout = tried.rollout()
        g = rollout.groups
        yield from _groups(g, S, dtype)
        logp = tried.logp(rollout)
        if logp.shape != g.old_logp.shape or not logp.requires_grad:
            yield Breach("logp", f"gives shape {tuple(logp.shape)} where old_logp has {tuple(g.old_logp.shape)}, or "
                         "has no gradient", GRAPH)  # fmt: skip
        if rollout.interactions != tried.settings.interactions_per_step:
            what = f"counts {rollout.interactions} interactions, and interactions_per_step says "
            yield Breach("rollout", f"{what}{tried.settings.interactions_per_step}", "count what one seed draws")


def _groups(g: CandidateGroups, S: int, dtype: torch.dtype) -> Iterator[Breach]:
    tensors = {f.name: x for f in dataclasses.fields(g) if isinstance(x := getattr(g, f.name), Tensor)}
    for name, x in tensors.items():
        if x.shape[:1] != (S,) or (x.is_floating_point() and x.dtype != dtype) or x.requires_grad:
            graph = ", with a gradient" * x.requires_grad
            what = f"gives groups.{name} of shape {tuple(x.shape)}, {name_of(x.dtype)}{graph}"
            remedy = f"the {S} seeds come first; stay in the noise's type {name_of(dtype)}, under torch.no_grad()"
            yield Breach("rollout", what, remedy)
        elif not bool(x.isfinite().all()):
            yield Breach("rollout", f"gives groups.{name} that is not finite", "keep 0 out of logarithms and divisions")
    if bool((g.old_logp * g.mask > 1e-6).any()):
        yield Breach("rollout", "gives log-probs above 0", "old_logp is log pi of each token, log_softmax of logits")
    if not torch.allclose(g.weight.sum(-1), torch.ones_like(g.weight[..., 0]), atol=1e-5):
        remedy = "1/K for rollouts, count/N for tallied draws, pi_old for exact updates"
        yield Breach("rollout", "gives weights that do not sum to 1 over the candidates of a context", remedy)
    for name in ("reward", "score"):
        if math.isfinite(g.draws) and bool((getattr(g, name)[g.weight == 0] != 0).any()):
            yield Breach("rollout", f"gives a {name} to candidates that nobody drew", "leave it to CandidateGroups")


def _same(kind: Kind) -> Iterator[Breach]:
    """The bytes of a rollout depend on the noise, the step and the policy."""
    for tried in _tried(kind):
        again = dataclasses.replace(tried)
        for step in (0, 5, 0):
            one, other = tried.rollout(step).groups, again.rollout(step).groups
            if name := _differs(one, other):
                remedy = "draw from the noise alone, self.noise.uniform(role, step, shape), and keep nothing between"
                yield Breach("rollout", f"gives other groups.{name} for the same noise, step and policy", remedy)
                return
        some = [tried.rollout(step).groups for step in range(STEPS)]
        if math.isfinite(some[0].draws) and not any(_differs(some[0], g) for g in some[1:]):
            yield Breach("rollout", "draws the same in every step", "give the step to the noise")


def _differs(one: CandidateGroups, other: CandidateGroups) -> str:
    """The first field in which two groups are not the same to the last bit."""
    for f in dataclasses.fields(one):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if not (torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b):
            return f.name
    return ""


def _seeds(kind: Kind) -> Iterator[Breach]:
    """A seed alone is that seed in a stack, its metrics and its gradient too."""
    for tried in _tried(kind):
        numbers = _numbers(tried)
        for place, seed in enumerate(tried.seeds):
            alone = _numbers(dataclasses.replace(tried, seeds=(seed,)))
            for where, x in numbers.items():
                difference = ((x[place] - alone[where][0]).abs() / (1 + x[place].abs())).max()
                if not difference <= ROUNDING:
                    what = f"of seed {seed} changes by {float(difference):.2g} when other seeds are trained beside it"
                    yield Breach(where, what, "the first axis is the seeds: never reduce over it")
                    return


def _numbers(tried: Tried) -> dict[str, Tensor]:
    """Everything that a task computes, by where it does."""
    rollout = tried.rollout(1)
    step = tried.step(rollout)
    tensors = {f.name: getattr(rollout.groups, f.name) for f in dataclasses.fields(rollout.groups)}
    numbers = {"make_policy: theta": tried.policy.theta.detach()}
    numbers |= {f"rollout: {name}": x for name, x in tensors.items() if isinstance(x, Tensor)}
    numbers |= {"logp: the gradient": torch.cat([x.flatten(1) for x in step.gradient], dim=1)}
    for where, values in tried.measured(rollout, step).items():
        numbers |= {f"{where}: {name}": x for name, x in values.items()}
    return {where: x.double() for where, x in numbers.items()}


def _snapshot(kind: Kind) -> Iterator[Breach]:
    """Log-probs under unchanged parameters are those that the rollout was drawn with, for some of its contexts too."""
    for tried in _tried(kind):
        rollout = tried.rollout(2)
        old = rollout.groups.old_logp
        B = old.shape[1]
        for rows in (None, torch.arange(B), torch.arange(0, B, 2)):
            expected = old if rows is None else old.index_select(1, rows)
            new = tried.logp(rollout, rows).detach()
            if new.shape != expected.shape or not torch.allclose(new, expected, rtol=ROUNDING, atol=ROUNDING):
                some = "" if rows is None else f" for the contexts {rows.tolist()}"
                remedy = "give log pi of the rollout's own candidates, (S, b, K, T) for the contexts `rows` (b,)"
                yield Breach("logp", f"is not old_logp at the same parameters{some}", remedy)
                return


# ---- what is measured


def _metrics(kind: Kind) -> Iterator[Breach]:
    for tried in _tried(kind):
        rollout = tried.rollout()
        measured = tried.measured(rollout, tried.step(rollout))
        declared = {
            "facts": kind.facts,
            "evaluate and diagnose": tried.settings.recorded(),
            "examine": kind.diagnostics,
            "rollout counts": kind.counters,
        }
        tensors = {
            "facts": measured["facts"],
            "evaluate and diagnose": {**measured["evaluate"], **measured["diagnose"]},
            "examine": measured["examine"],
            "rollout counts": rollout.counts,
        }
        for where, metrics in declared.items():
            names = {m.name for m in metrics}
            if names != tensors[where].keys():
                what = f"gives {', '.join(sorted(tensors[where])) or 'nothing'}, and declared are "
                yield Breach(where, what + (", ".join(sorted(names)) or "none"), "say in the settings what is measured")
                return
            for m in metrics:
                values = tensors[where][m.name].tolist()
                if not all(m.within.low - 1e-6 <= v <= m.within.high + 1e-6 for v in values):
                    what = f"gives {m.name} {values}, declared as {m.within}"
                    yield Breach(where, what, "declare what it can be: Metric(name, better, Within(low, high))")


def _read_only(kind: Kind) -> Iterator[Breach]:
    """Measuring changes neither the policy, nor a later rollout, nor anybody's random numbers."""
    for tried in _tried(kind):
        other = dataclasses.replace(tried)
        rollout = other.rollout()
        theta, state = other.policy.theta.detach().clone(), torch.get_rng_state()
        before = {f.name: getattr(rollout.groups, f.name) for f in dataclasses.fields(rollout.groups)}
        copies = {name: x.clone() for name, x in before.items() if isinstance(x, Tensor)}
        other.measured(rollout, other.step(rollout))
        if not torch.equal(theta, other.policy.theta):
            yield Breach("evaluate", "changes the policy", "measure under torch.no_grad(), without writing into theta")
        elif any(not torch.equal(x, before[name]) for name, x in copies.items()):
            yield Breach("evaluate", "writes into the groups", "make new tensors, without a trailing _ or out=")
        elif name := _differs(tried.rollout(1).groups, other.rollout(1).groups):
            yield Breach("evaluate", f"changes groups.{name} of the next rollout", "keep nothing that rollout reads")
        if not torch.equal(state, torch.get_rng_state()):
            yield Breach("rollout", "draws from torch's random numbers", "draw from the noise alone, self.noise")


def _resolution(kind: Kind) -> Iterator[Breach]:
    """A metric without N_eval is exact: the policy's own, whatever was drawn."""
    tried = Tried(tiny(kind))
    metrics = [tried.first_metric(tried.rollout(step)) for step in range(STEPS)]
    values = [value for value in metrics if value is not None]
    spread = max((float((value - values[0]).abs().max()) for value in values), default=0.0)
    if tried.settings.scored_rollouts is None and spread > ROUNDING:
        name = kind.metrics[0].name
        what = f"gives {name} that depends on what was drawn, by {spread:.2g}, and scored_rollouts is None: exact"
        yield Breach("evaluate", what, "say in scored_rollouts how many rollouts it is the mean of")


# ---- limits


def _direction(kind: Kind) -> Iterator[Breach]:
    """Ascent of the reward makes the first metric better, or at least no worse."""
    metric = kind.metrics[0]
    tried = Tried(tiny(kind))
    values: list[Tensor] = []
    for step in range(ASCENT):
        rollout = tried.rollout(step)
        if (value := tried.first_metric(rollout)) is None:
            return
        values.append(value)
        gradient = torch.cat([g.flatten(1) for g in tried.step(rollout).gradient], dim=1)
        with torch.no_grad():
            norm = gradient.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)
            tried.policy.theta.sub_((0.1 * gradient / norm).view_as(tried.policy.theta))
    gain = float((values[-1] - values[0]).mean()) * DIRECTIONS[metric.better]
    if gain <= 0:
        what = f"gives {metric.name} that gets worse by {-gain:.2g} where REINFORCE raises the reward"
        yield Breach("evaluate", what, f'is it "{metric.better}" that is better? otherwise the tiny task is too hard')


DECLARED = Promise[Kind]("its settings say what a plan, a record and a report ask of it", _declared)
ROLLOUTS = Promise[Kind]("a rollout has its shapes and types, and as many interactions as declared", _rollouts)
MEASURED = Promise[Kind]("what is measured is what is declared, one number a seed, within its range", _metrics)
FIRST = (DECLARED, ROLLOUTS, MEASURED)
CONTRACT = (
    DECLARED,
    Promise[Kind]("settings survive suite files and records", _survives),
    ROLLOUTS,
    MEASURED,
    Promise[Kind]("the same noise gives the same rollout, bit for bit, and every step another", _same),
    Promise[Kind]("seeds are independent: a seed alone is that seed in a stack, in float64 to 1e-9", _seeds),
    Promise[Kind]("log-probs at the same parameters are those of the rollout, for some contexts too", _snapshot),
    Promise[Kind]("measuring changes nothing, and nothing is drawn but from the noise", _read_only),
    Promise[Kind]("the first metric is exact, or says how many rollouts it is the mean of", _resolution),
)
LIMITS = (Promise[Kind]("more reward makes the first metric better", _direction, refuses=False),)


def examine(kind: Kind, promises: Iterable[Promise[Kind]] = (*CONTRACT, *LIMITS)) -> list[PromiseResult]:
    """What becomes of every promise.  Without a rollout of the right shape the others cannot be tried."""
    return try_promises(kind, promises, FIRST)
