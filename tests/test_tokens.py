"""Groups of next tokens: what is drawn, how it is scored, and losses and gradients state by state."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.noise import Noise
from tpobench.policies.prefix_tree import build_paths, pack
from tpobench.policies.transformer import TransformerPolicy
from tpobench.tasks.catalog import SequenceSettings, TokensSettings
from tpobench.tasks.rewards import target_tokens
from tpobench.tasks.tokens import TokensTask, next_token_rewards
from tpobench.training.loop import contributing_rows, loss_gradient, make_task

TOKEN_RULES = ("tpo_token", "grpo_token")


def make(seeds=(0,), *, reward="sequential", prompts=5, candidates=4, length=3, vocabulary=2, target="reverse_copy"):
    """A task, an untrained policy and its first rollout, in float64."""
    settings = TokensSettings(vocabulary, length, target, reward, prompts, candidates)
    task = TokensTask(settings, Noise("test", "", seeds, dtype=torch.float64))
    policy = task.make_policy()
    return task, policy, task.rollout(policy, 0)


def moved(policy: TransformerPolicy) -> TransformerPolicy:
    """Parameters somewhere else."""
    step = torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return TransformerPolicy(policy.theta.detach() + 0.03 * step, policy.vocabulary, policy.length)


def by_rollout(x: Tensor, task: TokensTask) -> Tensor:
    """(S, B * T, K) -> (S, B, K, T)."""
    s = task.settings
    return x.view(len(x), s.prompts, s.length, s.candidates).mT


def prompts_of(task: TokensTask, step: int = 0) -> Tensor:
    """The prompts (S, B, T) of a step."""
    s = task.settings
    return task.noise.integers("prompt", step, s.vocabulary, (s.prompts, s.length))


def one_by_one(policy: TransformerPolicy, prompts: Tensor, tokens: Tensor) -> Tensor:
    """Log pi of every candidate from a full forward of its own: the rollout's prefix, then the candidate."""
    S, B, K, T = tokens.shape
    rows = []
    for b, t, k in np.ndindex(B, T, K):
        answer = tokens[:, b : b + 1, :1].clone()
        answer[..., t] = tokens[:, b : b + 1, k : k + 1, t]
        answer[..., t + 1 :] = 0  # causal: what follows has no part
        paths = build_paths(prompts[:, b : b + 1].numpy(), answer.numpy(), policy.vocabulary)
        tree = pack(paths, policy.vocabulary, dtype=torch.float64)
        rows.append(policy.log_prob_table(tree).gather(1, tree.index)[:, t])
    return torch.stack(rows, 1).view(S, B * T, K)


def naive_loss(rule: str, logp: Tensor, old: Tensor, reward: Tensor) -> Tensor:
    """The paper's losses, (S, B * T, K) -> one number per seed: z-scores of K next tokens, mean over states."""
    deviation = reward - reward.mean(-1, keepdim=True)
    std = deviation.square().mean(-1, keepdim=True).sqrt()
    u = torch.where(std > 0, deviation / std.clamp(min=1e-6), 0.0)
    if rule == "tpo_token":
        q = old.exp() * u.exp()
        q = q / q.sum(-1, keepdim=True)
        return -(q * logp.log_softmax(-1)).sum(-1).mean(-1)
    ratio = (logp - old).exp()
    surrogate = torch.minimum(ratio * u, ratio.clamp(0.8, 1.2) * u)
    kl = 1 / ratio + (logp - old) - 1
    return -(surrogate - 0.04 * kl).mean((-1, -2))


@pytest.mark.parametrize(("seeds", "vocabulary"), [((0,), 2), ((3, 4), 3)])
def test_one_forward_gives_every_candidate_of_every_state(seeds, vocabulary):
    """The rollouts' tree gives what a full forward per state and candidate gives, at the snapshot and away from it."""
    task, policy, rollout = make(seeds, prompts=4, vocabulary=vocabulary)
    tokens = by_rollout(rollout.inputs.tokens, task)
    with torch.no_grad():
        for now in (policy, moved(policy)):
            expected = one_by_one(now, prompts_of(task), tokens)
            actual = task.logp(now, rollout, None).squeeze(-1)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
        old = one_by_one(policy, prompts_of(task), tokens)
    np.testing.assert_allclose(rollout.groups.old_logp.squeeze(-1), old, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [[0], [2, 3, 4], [1, 14], [8, 6]])
def test_chosen_states_have_the_log_probs_they_have_among_all(rows):
    """What their rollouts do later, and the other rollouts, are left out; the order is the one asked for."""
    task, policy, rollout = make((0, 1))
    index = torch.tensor(rows)
    with torch.no_grad():
        every = task.logp(policy, rollout, None)
        some = task.logp(policy, rollout, index)
    np.testing.assert_allclose(some, every[:, index], rtol=0, atol=1e-12)
    whole, part = (rollout.inputs.places[k][0].tokens for k in (None, np.array(rows).tobytes()))
    assert part < whole


def test_candidate_0_is_the_rollout_of_the_rules_that_compare_nothing():
    """One answer per prompt under the same prompts, weights and uniforms: tokens, log-probs, error and p0 agree."""
    spec = {"kind": "tokens", **dataclasses.asdict(TokensSettings(2, 4, prompts=6))}
    alone = {**spec, "kind": "sequence", "candidates": 1}
    for step in (0, 3):
        found = {}
        for name, task_spec in (("tokens", spec), ("alone", alone)):
            task = make_task("suite", task_spec, (7, 8), dtype="float64", device="cpu")
            policy = task.make_policy()
            found[name] = task, policy, task.rollout(policy, step)
        (task, policy, rollout), (other, same, expected) = found["tokens"], found["alone"]
        assert torch.equal(policy.theta, same.theta)
        first = by_rollout(rollout.inputs.tokens, task)[:, :, 0]
        assert torch.equal(first, torch.from_numpy(expected.inputs.paths.actions[:, :, 0]))
        old = by_rollout(rollout.groups.old_logp.squeeze(-1), task)[:, :, 0]
        assert torch.equal(old, expected.groups.old_logp[:, :, 0])
        error, reference = task.evaluate(policy, rollout)["error"], other.evaluate(same, expected)["error"]
        assert torch.allclose(error, reference, rtol=0, atol=1e-12)
        assert torch.equal(task.facts(policy)["initial_success"], other.facts(same)["initial_success"])


def test_the_other_candidates_are_drawn_beside_it_with_replacement():
    """Their frequencies are the policy's probabilities in that state; with two tokens, eight draws repeat."""
    task, _, rollout = make((0,), prompts=1, candidates=4001, length=2, vocabulary=3)
    tokens, p = rollout.inputs.tokens[0], rollout.groups.old_logp.exp()[0, ..., 0]
    for state in range(2):
        for v in range(3):
            chosen = tokens[state, 1:] == v
            expected = p[state, 1:][chosen][0]
            assert abs(chosen.double().mean() - expected) < 4.5 * math.sqrt(expected * (1 - expected) / 4000)
    assert task.settings.candidates == tokens.shape[1]


def test_a_candidate_depends_on_its_own_uniform_only():
    """Candidate k at position t follows the uniform [b, k - 1, t] of the stream beside, whatever K is."""
    few, many = make(candidates=3), make(candidates=6)
    assert torch.equal(
        by_rollout(few[2].inputs.tokens, few[0])[:, :, 0], by_rollout(many[2].inputs.tokens, many[0])[:, :, 0]
    )
    task, _, rollout = many
    s = task.settings
    beside = task.noise.uniform("token", 0, (s.prompts, s.candidates - 1, s.length))
    tokens = by_rollout(rollout.inputs.tokens, task)
    chance = by_rollout(rollout.groups.old_logp.exp().squeeze(-1), task)
    zero = torch.where(tokens == 0, chance, 1 - chance)[:, :, 1:]  # p of token 0 where there are two
    assert torch.equal(tokens[:, :, 1:], (beside >= zero).long())


PROMPTS = torch.tensor([[[0, 1], [1, 1]]])  # right answers 10 and 11
TOKENS = torch.tensor(
    [[[[0, 0], [1, 1]], [[1, 1], [1, 0]]]]
)  # rollouts 00 and 11; candidates beside them 1, 1 and 1, 0
REWARDS = {"bag_of_tokens": [[0, 1], [1, 0], [1, 1], [1, 0]], "sequential": [[0, 1], [0, 0], [1, 1], [1, 0]]}


def by_hand(reward):
    """Two prompts of two tokens, K = 2; states in the order of rollouts, then of tokens; pi_old is uniform."""
    task = TokensTask(TokensSettings(2, 2, reward=reward, prompts=2, candidates=2), Noise("t", "", (0,)))
    old = torch.full((1, 4, 2, 1), math.log(0.5), dtype=torch.float64)
    return task, task.score(PROMPTS, TOKENS, old)


@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_of_a_worked_example(reward):
    """Prompt 01 wants 10.  After the rollout's wrong 0 a right second token earns 1 (bag) or nothing (sequential)."""
    _, groups = by_hand(reward)
    assert groups.reward.tolist() == [REWARDS[reward]]
    assert groups.baseline.squeeze(-1).tolist() == [
        {"bag_of_tokens": [0.75, 0.5] * 2, "sequential": [0.75, 0.25] * 2}[reward]  # mean over the four of a position
    ]


@pytest.mark.parametrize(("reward", "error"), [("bag_of_tokens", 0.25), ("sequential", 0.5)])
def test_error_of_a_worked_example(reward, error):
    """Rollouts 00 and 11 have three right tokens of four, two of them in right prefixes; candidates do not count."""
    task, groups = by_hand(reward)
    metrics = task.evaluate(None, dataclasses.replace(make()[2], groups=groups))
    assert metrics["error"].tolist() == [error]
    assert metrics["informative"].tolist() == [{"bag_of_tokens": 0.75, "sequential": 0.5}[reward]]


@pytest.mark.parametrize("reward", REWARDS)
def test_targets_and_losses_of_a_worked_example(reward):
    """Rewards 0, 1 give u = -1, 1 and from equal log-probs the target e^-2 / (1 + e^-2), 1 / (1 + e^-2)."""
    _, groups = by_hand(reward)
    high = 1 / (1 + math.exp(-2))
    target = {(0, 1): [1 - high, high], (1, 0): [high, 1 - high], (0, 0): [0.5, 0.5], (1, 1): [0.5, 0.5]}
    expected = [target[tuple(r)] for r in REWARDS[reward]]
    tpo, grpo = ALGORITHMS["tpo_token"], ALGORITHMS["grpo_token"]
    torch.testing.assert_close(tpo.credit_for(groups)[0], torch.tensor(expected, dtype=torch.float64))
    logp = torch.tensor([[0.8, 0.2]] * 4, dtype=torch.float64).log().view(1, 4, 2, 1)
    loss = tpo.loss(logp, groups, tpo.credit_for(groups))[0]
    by_formula = [-q * math.log(0.8) - (1 - q) * math.log(0.2) for q, _ in expected]
    assert loss.tolist() == pytest.approx(by_formula)
    # ratios 1.6 and 0.4: A = -1, 1 gives -1.6 and 0.4; A = 1, -1 gives the clipped 1.2 and -0.8
    kl = 0.04 * (1 / 1.6 + math.log(1.6) - 1 + 1 / 0.4 + math.log(0.4) - 1) / 2
    clipped = {(0, 1): (1.6 - 0.4) / 2 + kl, (1, 0): (-1.2 + 0.8) / 2 + kl, (0, 0): kl, (1, 1): kl}
    loss = grpo.loss(logp, groups, grpo.credit_for(groups))[0]
    assert loss.tolist() == pytest.approx([clipped[tuple(r)] for r in REWARDS[reward]], abs=1e-7)


def test_sequential_rewards_stop_with_the_rollout_not_with_the_candidate():
    """Rollout 0110 of the answer 0100: its third token ends all reward, a wrong candidate ends nothing."""
    answer = torch.tensor([0, 1, 0, 0])
    tokens = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]])
    assert next_token_rewards(tokens, answer, "sequential").tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 0]]
    assert next_token_rewards(tokens, answer, "bag_of_tokens").int().tolist() == [
        [1, 1, 0, 1],
        [0, 1, 1, 1],
        [1, 0, 1, 0],
    ]


@pytest.mark.parametrize("target", ["copy", "reverse_flip"])
def test_tokens_are_scored_by_the_target_of_their_prompt(target):
    """Right tokens alone are rewarded, whatever the transform."""
    task, _, rollout = make(target=target, reward="bag_of_tokens", vocabulary=3)
    answer = target_tokens(prompts_of(task), target, 3).unsqueeze(2)
    right = by_rollout(rollout.inputs.tokens, task) == answer
    assert torch.equal(by_rollout(rollout.groups.reward, task), right.double())


@pytest.mark.parametrize("at_snapshot", [True, False], ids=["snapshot", "moved"])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)], ids=["one seed", "two seeds"])
@pytest.mark.parametrize("rule", TOKEN_RULES)
def test_the_gradient_is_that_of_the_formula_state_by_state(rule, seeds, at_snapshot):
    """One packed forward over informative states against one forward per state and the loss written out."""
    task, policy, rollout = make(seeds, prompts=4)
    algorithm = ALGORITHMS[rule]
    now = policy if at_snapshot else moved(policy)
    credit = algorithm.credit_for(rollout.groups)
    actual = loss_gradient(task, now, algorithm, rollout, credit, at_snapshot=at_snapshot)
    g = rollout.groups
    logp = one_by_one(now, prompts_of(task), by_rollout(rollout.inputs.tokens, task))
    loss = naive_loss(rule, logp, g.old_logp.squeeze(-1), g.reward)
    expected = torch.autograd.grad(loss.sum(), now.parameters)
    assert max(e.abs().max() for e in expected) > 1e-3
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-6, atol=1e-8)  # GRPO divides by std + 1e-8
    skipped = contributing_rows(algorithm, g, at_snapshot=at_snapshot)
    assert (skipped is not None and len(skipped) < g.reward.shape[1]) == at_snapshot


def test_memory_of_a_stack_does_not_grow_with_candidates_as_whole_answers_do():
    """K next tokens need no forward of their own."""
    tokens, whole = TokensSettings(candidates=64), SequenceSettings(candidates=64)
    assert tokens.bytes_per_seed < 1.3 * TokensSettings(candidates=2).bytes_per_seed
    assert tokens.bytes_per_seed < whole.bytes_per_seed / 20
