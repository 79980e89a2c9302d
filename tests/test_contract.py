"""The contract of a rule: each way to break it is found, in the part that does, with how to write it right."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.contract import CONTRACT, LIMITS, examine
from tpobench.algorithms.fit import policy_gradient
from tpobench.algorithms.groups import CandidateGroups, standardize
from tpobench.algorithms.promises import refusal

FLAT = "zero_gradient_on_flat is as declared"
PARTS = "credit is (S, B, K), loss (S, B)"
calls = itertools.count()


def centred(groups):
    """The credit of most rules here."""
    return groups.reward - (groups.weight * groups.reward).sum(-1, keepdim=True)


def each(logp, groups, credit):
    """The loss of each candidate, (S, B, K)."""
    return -groups.weight * ((credit if credit.dim() == 4 else credit.unsqueeze(-1)) * logp * groups.mask).sum(-1)


def plain(logp, groups, credit):
    """A fit without fault."""
    return each(logp, groups, credit).sum(-1)


def written(groups):
    """A credit that shifts the rewards themselves."""
    return groups.reward.sub_(0.5)


def scaled_in_place(logp, groups, credit):
    """A fit that scales its credit in place."""
    return plain(logp, groups, credit.mul_(2))


def weighted_to_one(groups):
    """A keep that writes."""
    groups.weight.fill_(1)
    return groups.reward.amax(-1)


def refuse_flat(groups):
    """A credit that raises on groups that all fail."""
    if (groups.reward == 0).all():
        raise ZeroDivisionError
    return groups.reward


def batch_centred(logp, groups, credit):
    """A fit that takes the mean over contexts off."""
    loss = plain(logp, groups, credit)
    return loss - loss.mean(1, keepdim=True)


def through_numpy(logp, groups, credit):
    """A fit that leaves torch."""
    return torch.from_numpy(plain(logp, groups, credit).detach().numpy())


def positions(x):
    """0, 1, 2, ... along the last axis."""
    return torch.arange(x.shape[-1], dtype=x.dtype)


# ruff: noqa: ARG005, E501 - a table, of parts that ignore what they are given
BREACHES: dict[str, tuple[dict[str, Any], str, str]] = {
    "credit over seeds": ({"credit": lambda g: g.reward - g.reward.mean()}, "seeds are independent", "credit mixes seeds: for seed 0"),
    "credit over the first axis": ({"credit": lambda g: g.reward - g.reward.mean(0)}, "seeds are independent", "credit mixes"),
    "fit over seeds": ({"fit": lambda x, g, c: plain(x, g, c) * g.reward.mean()}, "seeds are independent", "fit mixes se"),
    "fit by the number of seeds": ({"fit": lambda x, g, c: plain(x, g, c) / len(x)}, "seeds are independent", "fit depends on how many"),
    "keep over seeds": ({"keep": lambda g: g.reward.mean(-1) * g.reward.mean()}, "seeds are independent", "keep mixes seeds"),
    "loss that is one number": ({"fit": lambda x, g, c: each(x, g, c).mean()}, PARTS, r"fit gives shape \(\)"),
    "loss of a seed": ({"fit": lambda x, g, c: each(x, g, c).mean((1, 2))}, PARTS, r"fit gives shape \(3,\)"),
    "loss of a candidate": ({"fit": each}, PARTS, r"fit gives shape \(3, 4, 6\)"),
    "loss without a gradient": ({"fit": lambda x, g, c: plain(x.detach(), g, c)}, PARTS, "fit gives a loss that does not dep"),
    "loss by numpy": ({"fit": through_numpy}, PARTS, "fit gives a loss that does not depend on logp"),
    "loss that is none": ({"fit": lambda x, g, c: None}, PARTS, "fit gives NoneType"),
    "loss that is two": ({"fit": lambda x, g, c: (plain(x, g, c), {})}, PARTS, "fit gives tuple"),
    "credit of whole numbers": ({"credit": lambda g: (g.reward > 0.5).long()}, PARTS, "credit gives int64"),
    "credit in float32": ({"credit": lambda g: centred(g).float()}, PARTS, "credit gives float32 for groups of float64"),
    "credit in float64": ({"credit": lambda g: centred(g).double()}, PARTS, "credit gives float64 for groups of float32"),
    "credit of a context": ({"credit": lambda g: g.reward.mean(-1)}, PARTS, r"credit gives shape \(3, 4\)"),
    "credit by numpy": ({"credit": lambda g: g.reward.numpy()}, PARTS, "credit gives ndarray"),
    "credit with a gradient": ({"credit": lambda g: centred(g).requires_grad_()}, PARTS, "credit carries a gradient"),
    "keep of a candidate": ({"keep": lambda g: g.reward > 0}, PARTS, r"keep gives shape \(3, 4, 6\)"),
    "label undeclared": ({"credit": lambda g: torch.nn.functional.one_hot(g.label, g.reward.shape[-1]) + 0.0 * g.reward}, PARTS, r"credit reads groups.label.*needs=frozenset\({'label'}\)"),
    "reference undeclared": ({"fit": lambda x, g, c: plain(x - g.ref_logp, g, c)}, PARTS, "fit reads groups.ref_logp"),
    "raising where all fail": ({"credit": refuse_flat}, PARTS, "credit raises on groups that all fail: ZeroDivisionError"),
    "nan where all are equal": ({"credit": lambda g: centred(g) / centred(g).std(-1, keepdim=True)}, "finite", "credit gives nan on a group of equal rewards.*standardize"),
    "root of zero": ({"fit": lambda x, g, c: plain((x - g.old_logp).abs().sqrt(), g, c) + plain((x * 0).sqrt(), g, c)}, "finite", "fit gives nan in its gradient"),
    "overflow": ({"fit": lambda x, g, c: plain((500 * (x - g.old_logp)).exp(), g, c)}, "finite", "fit gives (inf|nan).*clamp"),
    "order of arms": ({"credit": lambda g: g.reward * positions(g.reward)}, "order of the candidates", "credit depends on the order"),
    "first of equals": ({"credit": lambda g: torch.nn.functional.one_hot(g.reward.argmax(-1), g.reward.shape[-1]).to(g.reward)}, "order of the candidates", "credit depends.*argmax"),
    "order in the fit": ({"fit": lambda x, g, c: (each(x, g, c) * positions(c)).sum(-1)}, "order of the candidates", "fit depends on the order"),
    "order of contexts": ({"credit": lambda g: centred(g) * positions(g.reward[:, :, 0]).unsqueeze(-1)}, "order of the contexts", "credit depends on the order"),
    "padding in the loss": ({"fit": lambda x, g, c: -(g.weight * c * x.sum(-1)).sum(-1)}, "masked tokens", "fit counts masked tokens"),
    "padding in the credit": ({"credit": lambda g: g.old_logp.sum(-1)}, "masked tokens", "credit counts masked tokens"),
    "written rewards": ({"credit": written}, "read, not written", "credit writes into groups.reward"),
    "written credit": ({"fit": scaled_in_place}, "read, not written", "fit writes into credit"),
    "written weights": ({"keep": weighted_to_one}, "read, not written", "keep writes into groups.weight"),
    "memory": ({"credit": lambda g: centred(g) * (1 + next(calls))}, "same answer", "credit answers the same groups differently"),
    "dice": ({"fit": lambda x, g, c: plain(x, g, c) * torch.rand(())}, "same answer", "fit answers the same groups differently"),
    "batch in the fit": ({"fit": batch_centred}, "each context alone", "fit of a context changes"),
    "batch in the keep": ({"keep": lambda g: g.reward.mean(-1) - g.reward.mean((1, 2)).unsqueeze(-1)}, "each context alone", "keep of a context changes"),
    "flat, always": ({"fit": lambda x, g, c: plain(x, g, c + 1), "zero_gradient_on_flat": "always"}, FLAT, "fit has a gradient of .* at the snapshot"),
    "flat, away": ({"fit": lambda x, g, c: plain(x, g, c) + (x - g.old_logp).square().mul(g.mask).sum((-1, -2)), "zero_gradient_on_flat": "always"}, FLAT, "fit has a gradient of .* away from the snapshot"),
}  # fmt: skip


def rule_of(parts: dict[str, Any]) -> Algorithm:
    """A rule without fault but for these parts."""
    return Algorithm(**{"name": "mine", "credit": centred, "fit": plain, "compares": "candidates"} | parts)


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_named_with_its_part(name: str) -> None:
    """The promise, the part, what it does, and what to do."""
    parts, promise, words = BREACHES[name]
    findings = examine(rule_of(parts), CONTRACT)
    broken = next(f for f in findings if f.breaches)
    assert broken.state == "broken"
    assert promise in broken.promise
    line = refusal("mine", findings)[0]
    assert re.match(f"algorithm 'mine': {words}", line), line
    assert line.endswith(f"; {broken.breaches[0].remedy}")


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"credit": lambda g: standardize(g.reward, g.weight)},
        {"credit": lambda g: g.reward - g.reward.amax(-1, keepdim=True)},
        {"credit": lambda g: (g.reward == g.reward.amax(-1, keepdim=True)).to(g.reward)},
        {"credit": lambda g: g.reward - g.reward.mean((1, 2), keepdim=True)},
        {"credit": lambda g: g.reward, "fit": policy_gradient, "compares": "nothing"},
        {"fit": lambda x, g, c: plain((x - g.old_logp).exp(), g, c)},
        {"keep": lambda g: g.reward.amax(-1) > 0},
        {"credit": lambda g: g.greedy_reward.unsqueeze(-1) - g.reward, "needs": {"greedy_reward"}},
    ],
)
def test_a_right_rule_keeps_it(parts: dict[str, Any]) -> None:
    """Rules as papers print them: batch statistics in the credit, ratios without a bound, weights that are ignored."""
    assert [f.breaches for f in examine(rule_of(parts), CONTRACT)] == [()] * len(CONTRACT)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"credit": lambda g: g.reward - g.baseline}, "credit gives shape (3, 3, 4, 6); it must give"),
        (
            {"fit": lambda x, g, c: plain((x - g.old_logp).exp(), g, c)},
            "on log-probs of -200 in float32; bound what is exp",
        ),
        ({"fit": lambda x, g, c: plain(x * torch.where(c > 0, 1.0, 1.05).unsqueeze(-1), g, c)}, "fit rounds float64"),
    ],
)
def test_a_limit_is_told_and_refuses_nothing(parts: dict[str, Any], words: str) -> None:
    """Where it is met it raises, or the run diverges; until then the rule is right."""
    findings = examine(rule_of(parts), (*CONTRACT, *LIMITS))
    assert refusal("mine", findings) == []
    (limit,) = [f for f in findings if f.breaches]
    assert limit.state == "limited"
    assert words in str(limit.breaches[0])


def test_what_rests_on_a_broken_promise_is_not_reached() -> None:
    """One mistake is one line."""
    findings = examine(rule_of({"fit": lambda x, g, c: None}))
    assert [f.state for f in findings] == ["broken", *["not reached"] * (len(CONTRACT) + len(LIMITS) - 1)]


def test_rewards_of_undrawn_candidates_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """If groups handed them over, a rule that reads them would be caught by the change of its gradient."""
    rule = rule_of({"credit": lambda g: g.reward - g.reward.mean(-1, keepdim=True), "fit": plain})
    assert refusal("mine", examine(rule)) == []
    monkeypatch.setattr(CandidateGroups, "__post_init__", lambda self: None)
    (line,) = refusal("mine", examine(rule))
    assert "credit uses the reward of candidates that nobody drew" in line


def test_trying_a_rule_leaves_the_random_numbers_alone() -> None:
    """Whoever examines a rule in a process of their own draws what they would have drawn."""
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    examine(rule_of({"fit": lambda x, g, c: plain(x, g, c) * torch.rand(())}))
    assert torch.equal(torch.rand(2), expected)
