"""The MNIST bandit, on scikit-learn's digits: its updates equal an independent implementation, its parts do as told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from recorded_cases import recorded_cases

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.data.images import load_images
from tpobench.planning.plan import Job, interactions_of, plan_runs
from tpobench.policies.bags import SparseImages, bright_pixels
from tpobench.policies.mlp import Layers, MLPPolicy, Shape
from tpobench.policies.noise import Noise
from tpobench.policies.optimizers import Adam
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import MnistSettings, streams
from tpobench.tasks.classification import classify, one_hot
from tpobench.tasks.mnist import BLOCK, MnistTask
from tpobench.training.loop import loss_gradient, train
from tpobench.training.watch import finite_seeds

Array = NDArray[np.float64]
RULES = {
    "ce": "ce", "pg": "reinforce", "dg": "dg", "tpo": "tpo", "grpo": "grpo_batch", "group_pg": "group_pg",
}  # fmt: skip
CASES = recorded_cases("mnist_cases.npz")


def make_task(seeds: tuple[int, ...] = (0, 1), dtype: torch.dtype = torch.float64, **settings: int) -> MnistTask:
    """The bandit on digits."""
    return MnistTask(MnistSettings(data="digits", **settings), Noise("test", "cell", seeds, dtype=dtype))


def parameters(policy: MLPPolicy) -> list[Array]:
    """Kernels (in, out) and biases of the first seed."""
    layers = [x[0].detach().numpy().copy() for x in Layers.of(policy.theta, policy.shape)]
    return [layers[0], layers[1].ravel(), layers[2], layers[3].ravel(), layers[4].T, layers[5].ravel()]


# ---- an independent implementation, dense and by hand


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logit_gradient(rule: str, pi: Array, y: NDArray[np.int64], a: NDArray[np.int64]) -> Array:
    """D (mean loss) / d logits of the six updates as appendix C writes them, scalar coefficients held fixed."""
    n, K = pi.shape
    rows, e_a, e_y = np.arange(n), np.eye(K)[a], np.eye(K)[y]
    r, p = (a == y).astype(float), pi[rows, a]
    A = r - (pi**2).sum(-1)
    u = np.where(a[:, None] == np.arange(K), K - 1, -1) * (np.sign(A) / np.sqrt(K - 1))[:, None]  # z-scores of A e_a
    if rule == "ce":
        return (pi - e_y) / n
    if rule == "tpo":
        return (pi - softmax(np.log(pi) + u)) / n
    coefficient = {
        "pg": A,
        "dg": A / (1 + np.exp(A * np.log(p))),
        "grpo": (r - r.mean()) / (r.std() + 1e-8) if r.std() > 0 else 0 * r,
        "group_pg": u[rows, a],
    }[rule]
    return -coefficient[:, None] * (e_a - pi) / n


class ByHand:
    """Three dense layers and Adam in NumPy."""

    def __init__(self, start: list[Array]) -> None:
        self.theta = [x.copy() for x in start]
        self.m, self.v = [np.zeros_like(x) for x in start], [np.zeros_like(x) for x in start]
        self.t = 0

    def update(self, rule: str, x: Array, y: NDArray[np.int64], a: NDArray[np.int64]) -> None:
        """One Adam step at learning rate 1e-3."""
        W0, b0, W1, b1, W2, b2 = self.theta
        h0 = np.maximum(x @ W0 + b0, 0)
        h1 = np.maximum(h0 @ W1 + b1, 0)
        g2 = logit_gradient(rule, softmax(h1 @ W2 + b2), y, a)
        g1 = g2 @ W2.T * (h1 > 0)
        g0 = g1 @ W1.T * (h0 > 0)
        gradient = [x.T @ g0, g0.sum(0), h0.T @ g1, g1.sum(0), h1.T @ g2, g2.sum(0)]
        self.t += 1
        for i, g in enumerate(gradient):
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.999 * self.v[i] + 0.001 * g**2
            step = (self.m[i] / (1 - 0.9**self.t)) / (np.sqrt(self.v[i] / (1 - 0.999**self.t)) + 1e-8)
            self.theta[i] = self.theta[i] - 1e-3 * step


@pytest.mark.parametrize("name", RULES)
def test_updates_equal_an_independent_implementation(name: str) -> None:
    """From the same images and the same named classes, 40 updates agree to 1e-11 in every parameter."""
    task, rule, optimizer = make_task((3,)), ALGORITHMS[RULES[name]], Adam(1e-3)
    policy, images = task.make_policy(), load_images("digits")
    hand, rng = ByHand(parameters(policy)), np.random.default_rng(0)
    x = (images.train.astype(np.float32) / np.float32(16)).astype(np.float64)
    for _ in range(40):
        index, action = rng.integers(len(x), size=(1, 100)), rng.integers(10, size=(1, 100))
        action = np.where(rng.random((1, 100)) < 0.3, images.train_label[index], action)
        label = torch.from_numpy(images.train_label[index])
        rollout = task.score(task.look(policy, index), label, torch.from_numpy(action))
        gradient = loss_gradient(task, policy, rule, rollout, rule.credit_for(rollout.groups), at_snapshot=True)
        with torch.no_grad():
            optimizer.step(policy.theta, gradient[0])
        hand.update(name, x[index[0]], images.train_label[index[0]], action[0])
    for ours, theirs in zip(parameters(policy), hand.theta, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)
    assert max(np.abs(a - b).max() for a, b in zip(hand.theta, parameters(task.make_policy()), strict=True)) > 0.01


@pytest.mark.parametrize("name", [n for n in RULES if n != "ce"])
def test_losses_equal_the_reference(name: str) -> None:
    """From logits, labels and named classes to the loss and its gradient, for every recorded case."""
    checked = CASES[f"classification_{name}_loss"]
    for case in checked:
        logits, label, action = case["in/logits"].requires_grad_(), case["in/labels"].long(), case["in/actions"].long()
        rule = ALGORITHMS[RULES[name]]
        rule = rule.with_hyper(eta=case.kwargs["eta"]) if name in {"dg", "tpo"} else rule
        log_pi = logits.log_softmax(-1)[None]
        groups = classify(log_pi.detach(), label[None], one_hot(action[None], log_pi.detach()))
        assert torch.equal((groups.reward * groups.weight).sum(-1)[0], case["in/rewards"])
        loss = rule.loss(log_pi.unsqueeze(-1), groups, rule.credit_for(groups)).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        # scores below 1e-6 are 0 here and stay as they are in the reference, times up to 20 nats
        flat = ((groups.reward - groups.baseline).abs() * groups.weight).sum(-1).min() < 4e-6
        tolerance = {"rtol": 1e-9, "atol": 2e-5 if flat else 1e-12, "msg": lambda m, c=case: f"{c.id}: {m}"}
        torch.testing.assert_close(loss.detach(), case["out/loss"], **tolerance)
        torch.testing.assert_close(gradient, case["grad/logits"], **tolerance)
    assert len(checked) >= 36


# ---- the network


@pytest.mark.parametrize("hidden", [7, 4])
def test_network_equals_dense_layers(hidden: int) -> None:
    """Logits and gradients of three seeds equal those of dense layers, images without a bright pixel included."""
    shape, rng = Shape(pixels=6, hidden=hidden, classes=5), np.random.default_rng(1)
    policy = MLPPolicy.initial(Noise("test", "", (0, 1, 2), dtype=torch.float64), shape)
    with torch.no_grad():  # biases start at 0
        policy.theta.add_(0.1)
        Layers.of(policy.theta, shape).bias2.sub_(torch.arange(5.0)[:, None])
    images = rng.integers(0, 9, size=(20, 6)).astype(np.uint8) * (rng.random((20, 6)) < 0.5).astype(np.uint8)
    images[0] = 0
    index = rng.integers(20, size=(3, 8))
    index[:, 0] = 0
    sparse = SparseImages(bright_pixels(images, 8), 8, torch.float64, "cpu")
    log_pi = policy.log_probs(*sparse.bags(index, shape.rows))
    upstream = torch.from_numpy(rng.normal(size=(3, 5, 8)))
    (gradient,) = torch.autograd.grad((log_pi * upstream).sum(), policy.theta)

    theta = policy.theta.detach().clone().requires_grad_()
    layers = Layers.of(theta, shape)
    x = torch.from_numpy(images[index] / 8.0)
    h = (x @ layers.kernel0 + layers.bias0).relu()
    h = (h @ layers.kernel1 + layers.bias1).relu()
    dense = (layers.kernel2 @ h.mT + layers.bias2).log_softmax(1)
    torch.testing.assert_close(log_pi, dense, rtol=1e-12, atol=1e-14)
    (expected,) = torch.autograd.grad((dense * upstream).sum(), theta)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
    shared = policy.logits(sparse.all()).log_softmax(1)
    for seed in range(3):
        torch.testing.assert_close(shared[seed][:, index[seed]], log_pi[seed], rtol=1e-12, atol=1e-14)


def test_initial_parameters_are_flax_s() -> None:
    """Kernels: mean 0, standard deviation 1 / sqrt(fan in), cut at two untruncated ones; biases and the rest: 0."""
    policy = MLPPolicy.initial(Noise("test", "", tuple(range(10))), Shape(784, 50, 10))
    layers = Layers.of(policy.theta.detach(), policy.shape)
    for kernel, fan_in in ((layers.kernel0, 784), (layers.kernel1, 50), (layers.kernel2, 50)):
        n = kernel.numel()
        assert abs(kernel.mean()) < 5 / (fan_in * n) ** 0.5
        assert kernel.std().item() == pytest.approx(fan_in**-0.5, rel=5 / (2 * n) ** 0.5)
        assert kernel.abs().max() <= 2 / (0.8796 * fan_in**0.5) * 1.0001
    assert sum(int(x.count_nonzero()) for x in layers) == int(policy.theta.count_nonzero()) == 10 * (42310 - 110)


def test_intensities_are_divided_in_single_precision() -> None:
    """As in the reference: x / highest in float32, then in the policy's precision; the constant pixel is exactly 1."""
    images = np.array([[0, 1, 3], [7, 0, 0]], dtype=np.uint8)
    bags = SparseImages(bright_pixels(images, 7), 7, torch.float64, "cpu").all()
    expected = (np.array([1, 3, 7, 7, 7], dtype=np.float32) / np.float32(7)).astype(np.float64)
    np.testing.assert_array_equal(bags.weight, expected)
    assert bags.row.tolist() == [1, 2, 3, 0, 3]
    assert bags.start.tolist() == [0, 3]


# ---- the task


def test_all_rules_see_the_same_images_and_uniforms() -> None:
    """Images and uniforms depend on the step alone: not on the policy, nor on the steps that came before."""
    task, other = make_task(), make_task()
    policy = task.make_policy()
    for step in range(3):
        task.rollout(policy, step)
    for step in (0, BLOCK - 1, BLOCK, 5 * BLOCK + 3):
        for a, b in zip(task._drawn(step), other._drawn(step), strict=True):
            assert np.array_equal(a, b)
    assert not np.array_equal(task._drawn(0)[0], task._drawn(1)[0])
    assert not np.array_equal(task._drawn(0)[0], task._drawn(BLOCK)[0])
    assert not np.array_equal(task._drawn(0)[0][0], task._drawn(0)[0][1])  # nor do seeds share them


def test_images_are_drawn_with_replacement_from_all() -> None:
    """Of 200 batches of 100, every one of 1,297 training images comes about 15 times; some batch has one twice."""
    task = make_task((0,))
    index = np.stack([task._drawn(step)[0][0] for step in range(200)])
    count = np.bincount(index.ravel(), minlength=1297)
    assert count.shape == (1297,)
    assert count.min() > 0
    assert ((count - 20_000 / 1297) ** 2).sum() / (20_000 / 1297) < 1297 + 5 * (2 * 1297) ** 0.5  # chi-squared
    assert any(len(set(batch)) < 100 for batch in index.tolist())


def test_classes_are_drawn_from_the_policy() -> None:
    """Uniforms .1, .2, .6 and .99 under (.2, .3, .5) name classes 0, 1, 2 and 2."""
    log_pi = torch.tensor([0.2, 0.3, 0.5]).log().view(1, 3, 1).expand(1, 3, 4)
    assert MnistTask.draw(log_pi, torch.tensor([[0.1, 0.201, 0.6, 0.99]])).tolist() == [[0, 1, 2, 2]]


def test_a_batch_by_hand() -> None:
    """Class 2 is named of an image of class 1 under (1/2, 1/4, 1/4): A = 0 - 3/8, and nobody is told of class 1."""
    log_pi = torch.tensor([[[0.5, 0.25, 0.25]]]).double().log()
    label, action = torch.tensor([[1]]), torch.tensor([[2]])
    groups = classify(log_pi, label, one_hot(action, log_pi))
    assert groups.weight.tolist() == [[[0, 0, 1]]]
    assert groups.reward.tolist() == [[[0, 0, 0]]]
    assert groups.baseline.item() == pytest.approx(3 / 8)
    assert groups.score[0, 0].tolist() == pytest.approx([0, 0, -3 / 8])
    assert torch.equal(groups.label, label)


def test_error_is_that_of_all_test_images() -> None:
    """The share of the 500 test images whose most probable class is wrong; initial_success averages pi(label)."""
    task, images = make_task(), load_images("digits")
    policy = task.make_policy()
    rollout = task.rollout(policy, 0)
    W0, b0, W1, b1, W2, b2 = parameters(policy)
    h = np.maximum(images.test / 16.0 @ W0 + b0, 0)
    pi = softmax(np.maximum(h @ W1 + b1, 0) @ W2 + b2)
    assert task.evaluate(policy, rollout)["error"][0].item() == pytest.approx(
        np.mean(pi.argmax(1) != images.test_label)
    )
    expected = pi[np.arange(500), images.test_label].mean()
    assert task.facts(policy)["initial_success"][0].item() == pytest.approx(expected, rel=1e-6)


def test_log_probs_follow_the_parameters() -> None:
    """The forward pass of the rollout serves the first update only, and only while theta is what it was."""
    task = make_task()
    policy = task.make_policy()
    rollout = task.rollout(policy, 0)
    first, again = task.logp(policy, rollout, None), task.logp(policy, rollout, None)
    assert torch.equal(first, rollout.groups.old_logp)
    assert torch.equal(again, first)
    assert torch.autograd.grad(first.sum(), policy.theta)[0].isfinite().all()
    assert torch.autograd.grad(again.sum(), policy.theta)[0].isfinite().all()
    rollout = task.rollout(policy, 0)
    with torch.no_grad():
        Adam(0.1).step(policy.theta, torch.ones_like(policy.theta))
    moved = task.logp(policy, rollout, None)
    assert (moved - first).abs().max() > 0.01
    torch.testing.assert_close(task.logp(policy, rollout, torch.tensor([3, 5])), moved[:, [3, 5]], rtol=0, atol=0)


def test_a_finite_sum_has_finite_terms() -> None:
    """Seeds with nan or infinite parameters are told from those whose finite parameters add up to infinity."""
    theta = torch.ones(4, 3)
    theta[1, 0], theta[2, 1], theta[3] = torch.nan, torch.inf, 3e38
    assert finite_seeds(theta).tolist() == [True, False, False, True]


# ---- through the loop


def job(name: str, seeds: tuple[int, ...] = (0, 1), **training: object) -> Job:
    """A job of the shipped suite on digits."""
    changes = {"training.seed_batch": len(seeds), "task.data": "digits", "training.dtype": "float64"}
    changes |= {f"training.{k}": v for k, v in training.items()}
    overrides = [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in changes.items()]
    plan = plan_runs(load_suite("mnist", overrides), algorithms=[name], seeds=seeds)
    return Job(plan.specs, seeds)


def curve(a_job: Job, metric: str) -> Array:
    return np.array([m.value for m in train(a_job) if m.metric == metric])


@pytest.mark.parametrize("name", RULES.values())
def test_every_rule_of_the_suite_learns(name: str) -> None:
    """In 150 updates on the digits every seed's error falls below a half; what is recorded is finite and complete."""
    a_job = job(name, steps=150, record_every=50, dtype="float32")
    seen = list(train(a_job))
    error = np.array([m.value for m in seen if m.metric == "error"])
    assert (error[0] > 0.7).all()
    assert (error[-1] < 0.5).all()
    assert [m.step for m in seen if m.metric == "error"] == [0, 50, 100, 150]
    assert np.isfinite([m.value for m in seen]).all()
    sums = {f"{n}{i}" for n in ("count", "gain_sum", "scalar_sum", "surplus_sum") for i in range(4)}
    assert {m.metric for m in seen} == {"initial_success", "error", "gradient_norm"} | sums
    assert seen[-1].interactions == 15_000


def test_diagnostics_count_the_misclassified_images() -> None:
    """The four counts of a seed add up to its error."""
    a_job = job("tpo", steps=20, record_every=10)
    counts = sum(curve(a_job, f"count{i}") for i in range(4))
    np.testing.assert_allclose(counts / 500, curve(a_job, "error")[:-1], rtol=1e-12)


def test_several_epochs_use_fresh_log_probs() -> None:
    """A second epoch on the same batch moves on from the first: PPO's two epochs differ from one."""
    one, two = (
        curve(job("ppo", (0,), steps=3, epochs=n, record_every=1, diagnostics=False), "gradient_norm") for n in (1, 2)
    )
    assert one[0] == two[0]
    assert abs(one[1] - two[1]) > 1e-6


# ---- the plan


def test_rules_that_compare_draws_are_skipped() -> None:
    """One class is named for each image, so GRPO over draws of a context has nothing to compare, and says so."""
    suite = load_suite("mnist", ["task.data=digits"])
    plan = plan_runs(suite, algorithms=["tpo", "ppo", "grpo", "grpo_token"], seeds=[0])
    assert [s.algorithm for s in plan.specs] == ["tpo", "ppo"]
    assert {s.algorithm: s.reason for s in plan.skipped} == {
        "grpo": "compares draws, which task 'mnist' does not offer",
        "grpo_token": "compares next tokens, which task 'mnist' does not offer",
    }
    assert interactions_of(plan.specs[0]) == 1_000_000


def test_the_copy_of_the_data_is_part_of_the_run_but_not_of_its_random_numbers() -> None:
    """Runs on an unverified copy have ids of their own, and the same weights, batches and uniforms."""
    suite = load_suite("mnist")
    other = dataclasses.replace(suite, task={**suite.task, "data_sha256": "ab" * 32})
    specs = [plan_runs(s, algorithms=["tpo"], seeds=[0]).specs[0] for s in (suite, other)]
    assert specs[0].run_id != specs[1].run_id
    assert streams(specs[0].task) == streams(specs[1].task)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"data": "cifar"}, "data must be one of mnist, digits"),
        ({"data_sha256": "12"}, "data_sha256 must be 64 hexadecimal digits, or empty"),
        ({"contexts": 0}, "contexts must be at least 1"),
        ({"hidden": 0}, "hidden must be at least 1"),
    ],
)
def test_bad_settings_are_refused(setting: dict[str, object], message: str) -> None:
    """Each in one line that says what would do."""
    with pytest.raises(ValueError, match=message):
        MnistSettings(**setting)
