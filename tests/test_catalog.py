"""Properties that every rule of the catalogue has, or declares not to have."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.groups import CandidateGroups

S, B, K, T = 3, 4, 6, 5
PER_CANDIDATE = ("old_logp", "mask", "reward", "weight", "score", "token_reward")
pytestmark = pytest.mark.parametrize("rule", ALGORITHMS.values(), ids=ALGORITHMS)


def make(
    *, seed: int = 0, flat: bool = False, dense: bool = False, dtype: torch.dtype = torch.float64
) -> CandidateGroups:
    """Masked sequences of S seeds; context 0 always has equal rewards, with `flat` every context has."""
    rng = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng, dtype=torch.float64)

    token_reward = (random(S, B, K, T) > 0.5).double()
    token_reward[:, slice(None) if flat else 0] = 1
    mask = (torch.arange(T) < 1 + (random(S, B, K, 1) * T)).double()
    reward = token_reward.mean(-1)
    weight = 0.2 + random(S, B, K)
    fields = {
        "old_logp": -2 * random(S, B, K, T),
        "mask": mask,
        "reward": reward,
        "baseline": torch.full((S, 1, 1, 1) if dense else (S, 1, 1), 0.4, dtype=torch.float64),
        "weight": weight / weight.sum(-1, keepdim=True),
        "score": reward,
        "token_reward": token_reward if dense else None,
    }
    fields = {name: None if x is None else x.to(dtype) for name, x in fields.items()}
    label = torch.randint(K, (S, B), generator=rng)
    return CandidateGroups(**fields, draws=K, label=label)


def moved(groups: CandidateGroups, by: float = 0.2) -> Tensor:
    """Log-probs of a policy that has left the snapshot."""
    rng = torch.Generator().manual_seed(9)
    noise = torch.randn(groups.old_logp.shape, generator=rng, dtype=torch.float64).to(groups.old_logp.dtype)
    return groups.old_logp + by * noise


def loss(rule: Algorithm, logp: Tensor, groups: CandidateGroups) -> Tensor:
    """What the training loop differentiates: mean over contexts, sum over seeds."""
    return rule.loss(logp, groups, rule.credit_for(groups)).mean(1).sum()


def gradient(rule: Algorithm, logp: Tensor, groups: CandidateGroups) -> Tensor:
    """D loss / d logp, (S, B, K, T)."""
    leaf = logp.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(rule, leaf, groups), leaf)[0]


def change(groups: CandidateGroups, function, names: tuple[str, ...]) -> CandidateGroups:
    """The groups with `function` applied to the named fields that are there."""
    values = {name: getattr(groups, name) for name in names}
    return dataclasses.replace(groups, **{n: function(x) for n, x in values.items() if x is not None})


def test_has_a_paper(rule: Algorithm) -> None:
    """Every entry says where its equation stands."""
    assert "arXiv" in rule.paper or "Williams 1992" in rule.paper


def test_loss_has_one_number_per_context(rule: Algorithm) -> None:
    """A fit reduces candidates and tokens only."""
    groups = make()
    assert rule.loss(moved(groups), groups, rule.credit_for(groups)).shape == (S, B)


def test_credit_has_no_gradient(rule: Algorithm) -> None:
    """Credit is a constant of the update, per token only for advantages of token rewards."""
    groups = make(dense=True)
    credit = rule.credit_for(change(groups, lambda x: x.clone().requires_grad_(), ("old_logp",)))
    assert not credit.requires_grad
    per_token = rule.name in {"reinforce", "ppo", "dg", "dg_multi_epoch"}
    assert credit.shape == ((S, B, K, T) if per_token else (S, B, K))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("extreme", ["new", "old", "both"])
@pytest.mark.parametrize("flat", [False, True], ids=["mixed", "flat"])
def test_gradient_is_finite(rule: Algorithm, dtype: torch.dtype, extreme: str, flat: bool) -> None:
    """Log-probs of -200, before or after or both, and groups of equal rewards give finite losses and gradients."""
    groups = make(flat=flat, dtype=dtype)
    low = groups.old_logp.clone()
    low[..., 0], low[:, 1, 0] = -200, -200
    logp = low if extreme != "old" else groups.old_logp
    groups = dataclasses.replace(groups, old_logp=low if extreme != "new" else groups.old_logp)
    assert loss(rule, logp, groups).isfinite()
    assert gradient(rule, logp, groups).isfinite().all()


def test_zero_gradient_on_flat_groups_is_as_declared(rule: Algorithm) -> None:
    """A group of equal rewards and scores has zero gradient always, at the snapshot only, or not even there."""
    groups = make(flat=True)
    here = gradient(rule, groups.old_logp, groups).abs().max()
    away = gradient(rule, moved(groups), groups).abs().max()
    if rule.zero_gradient_on_flat == "always":
        assert here == 0
        assert away == 0
    elif rule.zero_gradient_on_flat == "at_snapshot":
        assert here <= 1e-15
        assert away > 1e-4
    else:  # context 0 is flat; the others are not, which matters to a rule that standardises over the batch
        groups = make()
        assert gradient(rule, groups.old_logp, groups)[:, 0].abs().max() > 1e-4


def test_informative_groups_have_a_gradient(rule: Algorithm) -> None:
    """Where rewards differ every rule moves, at the snapshot already."""
    groups = make()
    assert (gradient(rule, groups.old_logp, groups)[:, 1:].abs().amax((2, 3)) > 1e-5).all()


@pytest.mark.parametrize("dense", [False, True], ids=["sequence", "token"])
def test_micro_batches_are_exact(rule: Algorithm, dense: bool) -> None:
    """With g = dL/dlogp taken once, back-propagating (logp_b g_b).sum() context by context is the whole gradient."""
    groups = make(dense=dense)
    rng = torch.Generator().manual_seed(4)
    x = torch.randn(S, B, K, T, 7, generator=rng, dtype=torch.float64)
    parameter = torch.randn(S, 7, generator=rng, dtype=torch.float64, requires_grad=True)

    def logp(rows: slice) -> Tensor:
        return torch.nn.functional.logsigmoid(torch.einsum("sbktd,sd->sbkt", x[:, rows], parameter))

    (direct,) = torch.autograd.grad(loss(rule, logp(slice(None)), groups), parameter)
    g = gradient(rule, logp(slice(None)), groups)
    pieces = [(logp(slice(b, b + 1)) * g[:, b : b + 1]).sum() for b in range(B)]
    (micro,) = torch.autograd.grad(sum(pieces), parameter)
    torch.testing.assert_close(micro, direct, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dense", [False, True], ids=["sequence", "token"])
def test_order_of_candidates_does_not_matter(rule: Algorithm, dense: bool) -> None:
    """Permuting the candidates permutes the gradient and leaves the loss."""
    groups = make(dense=dense)
    logp, order = moved(groups), torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = change(groups, lambda x: x[:, :, order], PER_CANDIDATE)
    permuted = change(permuted, lambda y: order.argsort()[y], ("label",))
    torch.testing.assert_close(
        loss(rule, logp[:, :, order], permuted), loss(rule, logp, groups), rtol=1e-13, atol=1e-15
    )
    expected = gradient(rule, logp, groups)[:, :, order]
    torch.testing.assert_close(gradient(rule, logp[:, :, order], permuted), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dense", [False, True], ids=["sequence", "token"])
def test_seeds_are_trained_apart(rule: Algorithm, dense: bool) -> None:
    """A stack of seeds gives each seed the gradient it has alone."""
    groups = make(dense=dense)
    logp = moved(groups)
    stacked = gradient(rule, logp, groups)
    names = (*PER_CANDIDATE, "baseline", "label")
    for s in range(S):
        alone = change(groups, lambda x, s=s: x[s : s + 1], names)
        torch.testing.assert_close(gradient(rule, logp[s : s + 1], alone), stacked[s : s + 1], rtol=1e-14, atol=1e-16)


def test_one_seed_cannot_disturb_another(rule: Algorithm) -> None:
    """Whatever happens in seed 1, seed 0 keeps its gradient bit for bit."""
    groups, other = make(), make(seed=1)
    logp = moved(groups)
    names = (*PER_CANDIDATE, "label")
    mixed = {n: getattr(groups, n) for n in names if getattr(groups, n) is not None}
    mixed = {n: torch.cat([x[:1], getattr(other, n)[1:]]) for n, x in mixed.items()}
    before = gradient(rule, logp, groups)
    after = gradient(rule, torch.cat([logp[:1], moved(other)[1:]]), dataclasses.replace(groups, **mixed))
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


@pytest.mark.parametrize("dense", [False, True], ids=["sequence", "token"])
def test_masked_tokens_have_zero_gradient(rule: Algorithm, dense: bool) -> None:
    """Padding neither moves nor matters."""
    groups = make(dense=dense)
    logp, padding = moved(groups), groups.mask == 0
    assert padding.any()
    assert (gradient(rule, logp, groups)[padding] == 0).all()
    refilled = torch.where(padding, -3.0, logp)
    assert torch.equal(loss(rule, refilled, groups), loss(rule, logp, groups))


def test_contexts_can_be_skipped(rule: Algorithm) -> None:
    """The loss of chosen contexts is the same when the others are not there, credit being of the whole batch."""
    groups, rows = make(), torch.tensor([0, 2])
    logp, credit = moved(groups), rule.credit_for(groups)
    part = rule.loss(logp[:, rows], groups.rows(rows), credit[:, rows])
    torch.testing.assert_close(part, rule.loss(logp, groups, credit)[:, rows], rtol=1e-14, atol=1e-16)


def test_hyperparameters_are_complete(rule: Algorithm) -> None:
    """A rule lists all its hyperparameters, and giving it the listed values changes nothing."""
    groups = make()
    again = rule.with_hyper(**rule.hyperparameters)
    assert again.hyperparameters == rule.hyperparameters
    assert torch.equal(loss(again, moved(groups), groups), loss(rule, moved(groups), groups))
