"""The static kernel computes what the plain path computes, and between two recorded steps waits for no device."""

import dataclasses

import numpy as np
import pytest
import torch
from test_native import SHAPES, batch, log_probs, require_no_less_exact
from test_train import TASKS, job
from torch.utils._python_dispatch import TorchDispatchMode

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.credit import baseline_advantage
from tpobench.algorithms.fit import policy_gradient
from tpobench.algorithms.groups import contributing
from tpobench.cli.kernel import settled
from tpobench.errors import UsageError
from tpobench.planning import devices
from tpobench.planning.devices import Devices
from tpobench.planning.plan import plan_runs
from tpobench.policies.noise import AHEAD, Noise, NoiseAhead
from tpobench.policies.static import StaticTransformer
from tpobench.policies.transformer import TransformerPolicy
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import task_settings
from tpobench.tasks.settings import NONFINITE_PART, PARTS
from tpobench.training import loop, watch
from tpobench.training.loop import loss_gradient, make_task, train

TASK = TASKS | {
    "tokens": {**TASKS["sequence"], "kind": "tokens", "reward": "sequential", "vocabulary": 3},
    "sampled": {"kind": "sampled", "contexts": 6, "arms": 5, "candidates": 4},
    "mnist": {"kind": "mnist", "data": "digits", "contexts": 30, "hidden": 8},
}
TRAINED = [  # of each kind of task: contexts without information, a critic, a greedy answer, one candidate, own steps
    *(("sequence", name) for name in ("tpo", "grpo", "ppo_gae", "remax")),
    *(("one candidate", name) for name in ("ppo", "dg")),
    *(("tokens", name) for name in ("tpo_token", "grpo_token")),
    *(("mnist", name) for name in ("tpo", "ce")),
    *((kind, name) for kind in ("bandit", "contexts", "sampled") for name in ("tpo", "trpo")),
]


def planned(kind, name, kernel, seeds=(0, 1), *, device="cpu", **training):
    """A job of a task of TASK."""
    one = {"candidates": 1} if kind == "one candidate" else {}
    task = TASK["sequence" if one else kind] | one
    optimizer = {"mnist": "adam", "bandit": "normalized", "contexts": "normalized", "sampled": "normalized"}
    a_job = job("bandit", name, seeds, **{"epochs": 2, "optimizer": optimizer.get(kind, "muon"), **training})
    specs = (dataclasses.replace(s, task=task, kernel=kernel, device=device) for s in a_job.specs)
    return dataclasses.replace(a_job, specs=tuple(specs))


def policies(S, V, H):
    """One set of parameters in float64 and float32, and static; away from the start, where scales are 1."""
    noise = Noise("static", "", tuple(range(S)), dtype=torch.float64)
    theta = TransformerPolicy.initial(noise, V, H).theta
    theta += 0.05 * noise.normal("theta", 0, (theta.shape[1],))
    return (
        TransformerPolicy(theta, V, H),
        TransformerPolicy(theta.float(), V, H),
        StaticTransformer(theta.float(), V, H),
    )


@pytest.mark.parametrize(("S", "V", "H", "K", "B"), SHAPES)
def test_no_less_exact_than_the_plain_path(S, V, H, K, B):
    """Log-probs, and each parameter's gradient."""
    require_no_less_exact(policies(S, V, H), S, V, H, K, B)


@pytest.mark.parametrize(("S", "V", "H", "K", "B"), SHAPES)
def test_the_same_tokens_are_drawn(S, V, H, K, B):
    """At equal uniforms, and with the log-probs of the plain path, both in float64."""
    plain, *_ = policies(S, V, H)
    static = StaticTransformer(plain.theta, V, H)
    noise = Noise("static", "", tuple(range(S)), dtype=torch.float64)
    prompts, uniform = noise.integers("prompt", 0, V, (B, H)), noise.uniform("action", 0, (B, K, H))
    (tokens, log_pi), (expected, table) = static.walk(prompts, uniform), plain.walk(prompts, uniform)
    assert torch.equal(tokens, expected)
    np.testing.assert_allclose(log_pi, table, rtol=0, atol=1e-12)


def test_chosen_contexts_are_those_among_all():
    """`keep` computes some contexts only, with their log-probs as they are."""
    prompts, tokens = batch(2, 2, 6, 4, 12)
    *_, static = policies(2, 2, 6)
    rows = np.array([1, 5, 6])
    every, some = (log_probs(static, prompts, tokens, **parts).detach() for parts in ({}, {"keep": rows}))
    np.testing.assert_allclose(some, every[:, rows], rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [3, 8])
def test_contexts_that_cannot_contribute_have_weight_0(length):
    """The gradient is the plain path's; where no context can, it is 0 and not what rounding leaves of it."""
    algorithm, settings = ALGORITHMS["tpo"], {**TASKS["sequence"], "length": length, "prompts": 30}
    gradient = {}
    for kernel in ("plain", "static"):
        task = make_task("test", settings, (0,), dtype="float32", device="cpu", kernel=kernel)
        policy = task.make_policy()
        rollout = task.rollout(policy, 0)
        credit, static = algorithm.credit_for(rollout.groups), kernel == "static"
        parts = loss_gradient(task, policy, algorithm, rollout, credit, at_snapshot=True, static=static)
        gradient[kernel] = torch.cat([g.flatten() for g in parts])
    informative = contributing(rollout.groups).float().mean()
    assert 0 < informative < 1 if length == 3 else informative == 0
    np.testing.assert_allclose(gradient["static"], gradient["plain"], rtol=0, atol=1e-5 * bool(informative))


@pytest.mark.parametrize(("kind", "name"), TRAINED)
def test_training_goes_on_as_on_the_plain_path(kind, name):
    """In float64 every measurement of 3 steps agrees to 1e-7: what is skipped there has weight 0 here."""
    plain, static = (list(train(planned(kind, name, kernel, steps=3))) for kernel in ("plain", "static"))
    assert [m[:4] for m in static] == [m[:4] for m in plain]
    for a, b in zip(plain, static, strict=True):
        np.testing.assert_allclose(b.value, a.value, rtol=1e-7, atol=1e-9, err_msg=a.metric)


def test_table_3_trains_as_on_the_plain_path():
    """Every algorithm and matching of the suite behind it, at its smoke scale."""
    suite = load_suite("terminal_reward", ["training.dtype=float64", "training.steps=1"], smoke=True)
    for a, b in zip(*(plan_runs(suite, kernel=kernel).jobs() for kernel in ("plain", "static")), strict=True):
        for plain, static in zip(train(a), train(b), strict=True):
            np.testing.assert_allclose(static.value, plain.value, rtol=1e-7, atol=1e-9, err_msg=plain.metric)


@pytest.mark.parametrize("kind", ["sequence", "tokens", "mnist", "bandit"])
def test_a_seed_learns_the_same_alone_and_stacked(kind):
    """Seeds share nothing, up to rounding of stacked matrix products."""
    name = "tpo_token" if kind == "tokens" else "tpo"
    stacked, alone = (list(train(planned(kind, name, "static", seeds))) for seeds in ((0, 1, 2), (1,)))
    for many, one in zip(stacked, alone, strict=True):
        np.testing.assert_allclose(many.value[1], one.value[0], rtol=1e-7, atol=1e-9, err_msg=one.metric)


def test_noise_sent_ahead_is_the_same_noise():
    """Numbers of any role and step, in any order, are those that are drawn step by step."""
    each, ahead = (noise("s", "c", (3, 4)) for noise in (Noise, NoiseAhead))
    for step in (0, 1, 2, AHEAD, AHEAD + 1, 3, 5 * AHEAD):
        assert torch.equal(each.uniform("a", step, (2, 3)), ahead.uniform("a", step, (2, 3)))
        assert torch.equal(each.normal("a", step, (2, 3)), ahead.normal("a", step, (2, 3)))
        assert torch.equal(each.integers("a", step, 7, (2, 3)), ahead.integers("a", step, 7, (2, 3)))


# ---- nothing waits

WAITS = {"_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero", "masked_select", "bincount",
         "_unique", "_unique2", "unique_dim", "unique_consecutive"}  # fmt: skip


class Waiting(Exception):
    """An operation for which the host must wait for the device."""


class NoWaiting(TorchDispatchMode):
    """Refuses operations whose result the host must see, and counts copies between host and device by step."""

    def __init__(self, steps) -> None:
        super().__init__()
        self.strict, self.steps, self.step, self.copies = False, steps, 0, []

    def begin(self, step, _=None):
        self.step, self.strict = step, step in self.steps

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN204 - no annotations in tests
        if self.strict and func.overloadpacket.__name__ in WAITS:
            raise Waiting(str(func))
        result = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in (*args, result) if isinstance(x, torch.Tensor)}
        if func.overloadpacket.__name__ in {"_to_copy", "copy_"} and len(devices) > 1:
            self.copies.append(self.step)
        return result


@pytest.fixture
def answers(monkeypatch):
    """Steps at which `on_host` was called, the one way to a number; it says 1 or True for what has none."""
    steps, modes = [], []

    def on_host(x):
        steps.append(modes[-1].step)
        return (torch.ones(x.shape, dtype=x.dtype) if x.is_meta else x).tolist()

    for module in (loop, watch):
        monkeypatch.setattr(module, "on_host", on_host)
    return modes, steps


def unrecorded(a_job):
    """Its steps between two that are recorded."""
    training = a_job.specs[0].training
    return {step for step in range(training["steps"]) if step % training["record_every"]}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in TRAINED if name != "trpo"])
def test_between_two_recorded_steps_nothing_is_asked_for(kind, name, answers):
    """Steps 1 and 2 of 3 run no operation that would wait, and bring no number to the host; the plain path does."""
    modes, steps = answers
    a_job = planned(kind, name, "static", steps=3, every=3)
    with NoWaiting(unrecorded(a_job)) as mode:
        modes.append(mode)
        assert {m.step for m in train(a_job, mode.begin)} == {0, 3}
    assert {*steps} == {0, 3}
    a_job = planned(kind, name, "plain", steps=3, every=3)
    mode = NoWaiting(unrecorded(a_job))
    modes.append(mode)
    with mode, pytest.raises(Waiting):
        list(train(a_job, mode.begin))


def test_no_algorithm_waits():
    """Of all that sampled bandits serve, mt_grpo alone asks: how many tasks there are; and trpo does on a CPU."""
    waiting = set()
    for name, algorithm in ALGORITHMS.items():
        if not task_settings(TASK["sampled"]).why_not(algorithm):
            a_job = planned("sampled", name, "static", steps=2, every=2)
            try:
                with NoWaiting(unrecorded(a_job)) as mode:
                    list(train(a_job, mode.begin))
            except Waiting:
                waiting.add(name)
    assert waiting == {"mt_grpo", "trpo"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("sequence", "tpo"), ("tokens", "tpo_token"), ("mnist", "tpo"), ("bandit", "trpo")],
)
def test_trains_on_a_device_that_has_no_numbers(kind, name, answers):
    """Torch's `meta` device refuses all that would read a number, and operands on different devices.

    Nothing comes back from it but through `on_host`, and nothing is sent but noise, for AHEAD steps at once.
    """
    modes, steps = answers
    a_job = planned(kind, name, "static", device="meta", dtype="float32", steps=3, every=3)
    with NoWaiting(unrecorded(a_job)) as mode:
        modes.append(mode)
        assert {m.step for m in train(a_job, mode.begin)} == {0, 3}
    assert {*steps} == {0, 3}
    assert 0 in mode.copies
    assert {*mode.copies} <= {0, 1}


def fragile_credit(calls):
    """Credit that is nan for seed 1 in update 2, and 7 for seed 2 in update 5."""

    def credit(groups):
        value = baseline_advantage(groups)
        for seed, update, broken in ((1, 2, torch.nan), (2, 5, 7.0)):
            if len(calls) == update and seed < len(value):
                value[seed] = broken
        calls.append(value)
        return value

    return credit


def fragile_fit(logp, groups, credit):
    """Not a number where credit is 7."""
    return policy_gradient(logp, groups, credit) * torch.where((credit == 7).all(-1), torch.nan, 1.0)


@pytest.mark.parametrize(("kernel", "every"), [("plain", 1), ("static", 1), ("static", 4), ("static", 20)])
def test_which_update_and_part_lost_a_seed_is_known_at_the_next_recorded_step(kernel, every, monkeypatch):
    """The credit of update 2 lost seed 1, the fit of update 5 seed 2, however many steps lie between two questions."""
    monkeypatch.setitem(ALGORITHMS, "fragile", Algorithm("fragile", fragile_credit([]), fragile_fit))
    rows = list(train(planned("bandit", "fragile", kernel, (0, 1, 2), steps=8, epochs=1, every=every)))
    lost = [(m.step, m.value) for m in rows if m.metric == NONFINITE_PART]
    assert lost == [(2, (0, PARTS.index("credit"), 0)), (5, (0, 0, PARTS.index("fit")))]
    assert np.isfinite([m.value[0] for m in rows]).all()
    assert all(np.isnan(m.value[1:]).all() for m in rows if m.step == 8 and m.metric == "error")


def test_training_stops_at_the_recorded_step_after_every_seed_is_lost(monkeypatch):
    """Not at once, which would take a question at every step."""
    fit = lambda logp, groups, credit: policy_gradient(logp, groups, credit) * torch.nan  # noqa: E731
    monkeypatch.setitem(ALGORITHMS, "exploding", Algorithm("exploding", baseline_advantage, fit))
    assert max(m.step for m in train(planned("bandit", "exploding", "static", steps=50, every=4))) == 4


# ---- the choice


def test_static_is_part_of_a_run_and_plain_is_not():
    """The specs differ in one key; every kind of task and precision has it."""
    suites = [load_suite("bandit"), load_suite("terminal_reward", ["training.dtype=float64"])]
    for suite in suites:
        plain, static = (plan_runs(suite, ["tpo"], [0], kernel=kernel).specs for kernel in ("plain", "static"))
        assert [spec.as_dict() for spec in static] == [spec.as_dict() | {"kernel": "static"} for spec in plain]
        assert not {spec.run_id for spec in static} & {spec.run_id for spec in plain}


@pytest.mark.parametrize(("kernel", "chosen"), [("auto", "static"), ("static", "static"), ("plain", "plain")])
def test_a_device_is_not_waited_for_unless_it_is_asked_for(kernel, chosen, monkeypatch):
    """`auto` takes the static kernel on CUDA, for tasks without a transformer too."""
    monkeypatch.setattr(devices, "probe", lambda: Devices(({"index": 0, "name": "GPU", "memory_bytes": 2**34},)))
    assert settled(kernel, [load_suite("bandit"), load_suite("terminal_reward")], "cuda") == chosen


def test_native_is_refused_on_cuda(monkeypatch):
    """With the kernel that would do."""
    monkeypatch.setattr(devices, "probe", lambda: Devices(({"index": 0, "name": "GPU", "memory_bytes": 2**34},)))
    with pytest.raises(UsageError, match="runs on CPUs, not on cuda; --kernel auto takes"):
        settled("native", [load_suite("terminal_reward")], "cuda")
