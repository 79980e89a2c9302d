"""Every rule gives the reference's losses and gradients, in float64."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from recorded_cases import Case, recorded_cases
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.credit import batch_standardized_reward, standardized_score
from tpobench.algorithms.fit import policy_gradient
from tpobench.algorithms.groups import ZERO_VARIANCE, CandidateGroups
from tpobench.algorithms.modifiers import task_logits

EXTRACTS = Path(__file__).parent / "extracts"
EXACT = {"rtol": 1e-9, "atol": 1e-12}
FORMULAS = json.loads((EXTRACTS / "rule_formulas.json").read_text())
BATCH_PG = Algorithm("batch_pg", batch_standardized_reward, policy_gradient)
CASES = recorded_cases("rule_cases.npz")


def make(old: Tensor, reward: Tensor | None = None, **fields: Tensor | float) -> CandidateGroups:
    """Groups of one seed from old log-probs (B, K, T) and rewards (B, K), equally weighted unless said otherwise."""
    B, K, _ = old.shape
    reward = torch.zeros(B, K, dtype=old.dtype) if reward is None else reward
    base = {
        "old_logp": old.detach()[None],
        "mask": torch.ones_like(old)[None],
        "reward": reward[None],
        "baseline": torch.zeros(1, 1, 1, dtype=old.dtype),
        "weight": torch.full((1, B, K), 1 / K, dtype=old.dtype),
        "score": reward[None],
        "draws": K,
    }
    return CandidateGroups(**base | fields)


def loss(rule: Algorithm, logp: Tensor, groups: CandidateGroups, credit: Tensor | None = None) -> Tensor:
    """Mean over contexts of the rule's loss; logp is (B, K, T)."""
    return rule.loss(logp[None], groups, rule.credit_for(groups) if credit is None else credit).mean()


def check(case: Case, value: Tensor, leaf: Tensor, leaf_name: str, **tolerance: float) -> None:
    """Loss and gradient equal the recorded ones."""
    tolerance = EXACT | tolerance
    torch.testing.assert_close(value.detach(), case["out/loss"], **tolerance, msg=lambda m: f"{case.id}: loss {m}")
    if "boundary_clamp20" in case.id:  # jnp.clip has slope 1/2 at the bound itself, torch.clamp has 1
        return
    (gradient,) = torch.autograd.grad(value, leaf)
    expected = case[f"grad/{leaf_name}"]
    torch.testing.assert_close(gradient, expected, **tolerance, msg=lambda m: f"{case.id}: gradient {m}")


def almost_flat(reward: Tensor) -> bool:
    """A group whose std is rounding noise or below the threshold: the reference does not treat it as flat, we do."""
    std = reward.std(-1, correction=0)
    return bool(((std > 0) & (std <= ZERO_VARIANCE)).any())


def by_token(x: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1), (B, H) -> (B, 1, H): one candidate a context."""
    return x[:, None, None] if x.dim() == 1 else x[:, None, :]


@pytest.mark.parametrize("function", ["reinforce_loss", "dg_loss", "ppo_loss"])
def test_single_sample_losses(function: str) -> None:
    """REINFORCE, DG and PPO equal the reference on flat samples and on sequences, for any advantage."""
    name = function.removesuffix("_loss")
    for case in CASES[function]:
        leaf, A = case["in/log_probs"].requires_grad_(), case["in/advantages"]
        logp = by_token(leaf)
        old = by_token(case["in/old_log_probs"]) if name == "ppo" else logp
        A = by_token(A if A.dim() == leaf.dim() else A[:, None].expand_as(leaf))
        groups = make(old, A.mean(-1), token_reward=A[None], baseline=torch.zeros(1, 1, 1, 1, dtype=A.dtype))
        hyper = {"dg": {"eta": case.kwargs.get("eta", 1.0)}, "ppo": {"clip": case.kwargs.get("epsilon", 0.2)}}
        check(case, loss(ALGORITHMS[name].with_hyper(**hyper.get(name, {})), logp, groups), leaf, "log_probs")


def test_grpo_loss() -> None:
    """GRPO's fit equals the reference's loss for any advantage; the reference sums over K, we average."""
    for case in CASES["grpo_loss"]:
        leaf, old, A = case["in/log_probs"].requires_grad_(), case["in/old_log_probs"], case["in/advantages"]
        shape = (*leaf.shape, 1) if leaf.dim() == 2 else (leaf.shape[0], 1, 1)
        A = A if A.shape == leaf.shape else A[:, None].expand_as(leaf)
        rule = ALGORITHMS["grpo"].with_hyper(clip=case.kwargs["epsilon"], kl=case.kwargs["beta"])
        groups = make(old.reshape(shape))
        value = loss(rule, leaf.reshape(shape), groups, A.reshape(1, *shape[:2])) * shape[1]
        check(case, value, leaf, "log_probs")


def score_tolerance(case: Case, score: Tensor) -> dict[str, float]:
    """Scores whose std is below 1e-6 are 0 here and centred, below 1e-6 too, in the reference.

    Scores near 1 whose std is 2e-6 lose six digits when their mean is taken off, in any order of summation.
    """
    if almost_flat(score):
        return {"atol": 2e-6 / case.kwargs.get("eta", 1.0)}
    return {"atol": 1e-9} if "near_threshold" in case.id else {}


@pytest.mark.parametrize("function", ["tpo_skill", "tpo_target", "tpo_target_no_anchor"])
def test_scores_and_targets(function: str) -> None:
    """TPO's standardised scores and targets equal the reference's for scores of any shape."""
    for case in CASES[function]:
        score = case["in/scores"]
        flat = score.reshape(-1, score.shape[-1])
        old = case["in/log_scores_old"].reshape(flat.shape) if "in/log_scores_old" in case else torch.zeros_like(flat)
        groups = make(old[..., None], flat)
        if function == "tpo_skill":
            credit, expected = standardized_score(groups), case["out/skill"]
        else:
            rule = ALGORITHMS["tpo" if function == "tpo_target" else "tpo_no_anchor"]
            credit, expected = rule.with_hyper(eta=case.kwargs["eta"]).credit_for(groups), case["out/q"]
        tolerance = EXACT | score_tolerance(case, flat)
        torch.testing.assert_close(credit.view_as(score), expected, **tolerance, msg=lambda m, c=case: f"{c.id}: {m}")


def test_classification_tpo() -> None:
    """One TPO step over all classes equals the reference, in the loss and in the gradient of the logits."""
    cases = [c for c in CASES["anchored_tpo_cross_entropy_loss"] if "in/logits" in c]
    assert len(cases) > 100
    for case in cases:
        leaf, score = case["in/logits"].requires_grad_(), case["in/scores"]
        logp = leaf.log_softmax(-1)[..., None]
        value = loss(ALGORITHMS["tpo"].with_hyper(eta=case.kwargs["eta"]), logp, make(logp, score))
        check(case, value, leaf, "logits", **score_tolerance(case, score))


def test_classification_group_pg() -> None:
    """Group PG with one drawn class takes that class's coordinate of the standardised scores."""
    for case in CASES["group_pg_cross_entropy_loss"]:
        leaf, score, action = case["in/logits"].requires_grad_(), case["in/scores"], case["in/actions"].long()
        drawn = torch.nn.functional.one_hot(action, score.shape[-1]).to(score.dtype)[None]
        logp = leaf.log_softmax(-1)[..., None]
        exact = make(logp, score, weight=drawn, draws=math.inf)  # recorded scores of classes that were not drawn count
        value = loss(ALGORITHMS["group_pg"], logp, exact)
        tolerance = {"atol": 1e-4} if almost_flat(score) else score_tolerance(case, score)  # 1e-6 times up to 200 nats
        check(case, value, leaf, "logits", **tolerance)


def test_batch_standardized_policy_gradient() -> None:
    """Policy gradient with rewards standardised over the batch equals the reference."""
    for case in CASES["batch_standardized_pg_loss"]:
        reward = case["in/rewards"]
        if almost_flat(reward):  # the reference divides rounding noise, or 1e-7, by its epsilon of 1e-8
            continue
        leaf = case["in/logits"].requires_grad_()
        logp = leaf.log_softmax(-1).gather(-1, case["in/actions"].long()[:, None])[..., None]
        value = loss(BATCH_PG.with_hyper(epsilon=case.kwargs["eps"]), logp, make(logp, reward[:, None]))
        check(case, value, leaf, "logits")


@pytest.mark.parametrize("name", ["reinforce", "dg", "ppo"])
def test_sequences_with_token_rewards(name: str) -> None:
    """From token rewards to the gradient: the advantage is the reward minus the batch mean at that position."""
    for case in CASES[f"trial_{name}"]:
        leaf, r = case["in/new_tok_lp"].requires_grad_(), case["in/tok_reward"][:, None]
        groups = make(
            case["in/old_tok_lp"][:, None], r.mean(-1), token_reward=r[None], baseline=r.mean(0, keepdim=True)[None]
        )
        check(case, loss(ALGORITHMS[name], leaf[:, None], groups), leaf, "new_tok_lp")


@pytest.mark.parametrize("name", ["tpo", "tpo_no_anchor", "group_pg", "grpo", "grpo_masked"])
def test_grouped_sequences(name: str) -> None:
    """From token rewards to the gradient, with sequence scores and log-probs; sums over K become averages."""
    checked = 0
    for case in CASES[f"trial_{name}"]:
        leaf, score = case["in/new_tok_lp"].requires_grad_(), case["in/tok_reward"].mean(-1)
        if almost_flat(score):
            continue
        B, K = score.shape
        informative = max(int((score.std(-1, correction=0) > 0).sum()), 1)  # a tensor of integers divides in float32
        factor = {"group_pg": K, "grpo": K, "grpo_masked": K * B / informative}.get(name, 1)
        given = {"eta": case.kwargs.get("eta", 1.0)}
        if name.startswith("grpo"):
            given = {"kl": case.kwargs["beta"], "clip": case.kwargs["epsilon"]}
        groups = make(case["in/old_tok_lp"], score)
        check(case, loss(ALGORITHMS[name].with_hyper(**given), leaf, groups) * factor, leaf, "new_tok_lp")
        checked += 1
    assert checked >= 60


NAMED = {  # vectors of another name than the catalogue's
    "grpo_paper": "grpo", "grpo_token": "grpo_deepseek", "rloo_trl": "rloo_clipped", "mpo_estep": "mpo",
    "gdpo_grpo": "gdpo", "icepop_grpo": "grpo_token_ratio+icepop", "tis_grpo": "grpo_token_ratio+tis",
}  # fmt: skip
WITH = {  # hyperparameters that the vectors do not have at the published value
    "cispo": {"cap": 1.2}, "mdpo": {"t": 0.5}, "pmd_mean": {"tau": 0.5}, "kto_online": {"z": 0.05},
    "ppo_gae": {"kl": 0.05},
}  # fmt: skip
SUMMED = {"grpo_paper", "grpo_no_kl", "group_pg"}  # over K, where the catalogue averages


def vector_groups(given: dict[str, Tensor], **fields: Tensor) -> CandidateGroups:
    """The groups of a vector, of one token where it has no axis of tokens."""
    shape = (*given["rewards"].shape, -1)
    shape_of = given["mask"].reshape(shape).shape
    return make(
        given["old_logp"].reshape(shape),
        given["rewards"],
        mask=given["mask"].reshape(1, *shape),
        baseline=given["rewards"].mean().reshape(1, 1, 1),
        greedy_reward=given["greedy_reward"][None],
        ref_logp=given["ref_logp"].reshape(1, *shape),
        rollout_logp=given["rollout_logp"].reshape(1, *shape),
        rewards=given["rewards_multi"][None],
        value=0.1 * (torch.arange(shape_of[-1]) + 1.0).double().expand(1, *shape_of),
        progress=0.0,
        **fields,
    )


@pytest.mark.parametrize("vector", FORMULAS["inputs"])
@pytest.mark.parametrize("rule", FORMULAS["rules"])
def test_formula_vectors(rule: str, vector: str) -> None:
    """Loss and gradient equal independent evaluations of the formula: on-policy, off-policy, masked tokens."""
    given = {k: torch.tensor(v, dtype=torch.float64) for k, v in FORMULAS["inputs"][vector].items()}
    expected = {k: torch.tensor(v, dtype=torch.float64) for k, v in FORMULAS["rules"][rule][vector].items()}
    hyper = WITH.get(rule, {})
    if rule == "gspo" and vector.startswith("S3"):  # whose ratios are all beyond the published bounds
        hyper = {"clip": 0.1, "clip_high": 0.15}
    algorithm, leaf = ALGORITHMS[NAMED.get(rule, rule)].with_hyper(**hyper), given["logp"].requires_grad_()
    groups = algorithm.prepare(vector_groups(given), {})
    factor = given["rewards"].shape[1] if rule in SUMMED else 1
    value = loss(algorithm, leaf.reshape(groups.mask.shape[1:]), groups) * factor
    (gradient,) = torch.autograd.grad(value, leaf)
    tolerance = EXACT | ({"atol": 1e-9} if rule == "ppo_gae" else {})  # whitened with an epsilon of another form
    if not algorithm.modifiers:  # whose weights act on the gradient and leave the value
        torch.testing.assert_close(value.detach(), expected["loss"], **tolerance)
    torch.testing.assert_close(gradient, expected["grad"], **tolerance)


@pytest.mark.parametrize("case", FORMULAS["task_weights"])
def test_weights_of_tasks(case: dict) -> None:
    """One step of MT-GRPO's logits equals the recorded one."""
    given = [torch.tensor([case[k]], dtype=torch.float64) for k in ("logits", "improvement", "reward", "logits_next")]
    torch.testing.assert_close(task_logits(*given[:3], case["lam"], case["step"]), given[3], **EXACT)


@pytest.mark.parametrize("rule", FORMULAS["beta"])
def test_closed_forms_of_the_population_update(rule: str) -> None:
    """With 10 arms, one of them right, the exact update is beta(p) (e_y - pi), whatever the wrong arms' split."""
    name = {"pg": "reinforce"}.get(rule, rule)
    algorithm = ALGORITHMS[name].with_hyper(epsilon=0.0) if name == "grpo" else ALGORITHMS[name]
    p, beta = torch.tensor(FORMULAS["beta"][rule], dtype=torch.float64).unbind(-1)
    split = torch.arange(1, 10, dtype=torch.float64) / 45
    logits = torch.cat([p[:, None], (1 - p)[:, None] * split], -1).log().requires_grad_()
    pi = logits.detach().softmax(-1)
    reward = torch.zeros_like(pi)
    reward[:, 0] = 1
    logp = logits.log_softmax(-1)[..., None]
    # the population of group_pg is that of the drawn arm, whose standardised coordinate weighs its log-prob
    groups = make(logp, reward, weight=pi[None], draws=float("inf"), label=torch.zeros(1, len(p), dtype=torch.int64))
    (gradient,) = torch.autograd.grad(loss(algorithm, logp, groups), logits)
    torch.testing.assert_close(-gradient * len(p), beta[:, None] * (reward - pi), **EXACT)
