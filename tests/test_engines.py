"""What engines have in common, without any of them."""

import pytest
import torch

from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN, require_algorithm
from tpobench.engines.answers import Answers, Update, by_row, why_not
from tpobench.errors import UsageError

N, T = 12, 5  # 3 prompts of 4 answers
SEQUENCE = [n for n in BUILT_IN if not why_not(ALGORITHMS[n])]


def batch(seed=0, **changed):
    """Answers in no order."""
    rng = torch.Generator().manual_seed(seed)
    logp = -2 * torch.rand(N, T, generator=rng, dtype=torch.float64)
    length = 1 + torch.randint(T, (N, 1), generator=rng)
    fields = {
        "old_logp": logp, "mask": (torch.arange(T) < length).double(),
        "reward": torch.rand(N, generator=rng, dtype=torch.float64),
        "prompt": torch.tensor([2, 0, 1, 0, 2, 1, 1, 0, 2, 2, 1, 0]),
    } | changed  # fmt: skip
    return Answers(**fields), logp + 0.2 * torch.randn(N, T, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("name", SEQUENCE)
def test_the_token_gradient_is_that_of_the_loss_however_answers_stand(name):
    """Another order gives the same g in that order, to 1e-12, and padding has none."""
    answers, logp = batch()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    moved = Answers(*(x[order] for x in (answers.old_logp, answers.mask, answers.reward, answers.prompt)))
    loss, g = Update(ALGORITHMS[name], answers).gradient(logp)
    other, h = Update(ALGORITHMS[name], moved).gradient(logp[order])
    torch.testing.assert_close(loss, other, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(g[order], h, rtol=1e-12, atol=1e-14)
    assert not bool((g * (1 - answers.mask)).any())


def test_the_token_gradient_of_tpo_by_hand():
    """Two answers of one token, rewards 1 and 0, at the snapshot: q = softmax(log p_old +- 1), g = p_old - q."""
    old = torch.tensor([[-1.0], [-2.0]], dtype=torch.float64)
    answers = Answers(old, torch.ones_like(old), torch.tensor([1.0, 0.0]).double(), torch.tensor([7, 7]))
    _, g = Update(ALGORITHMS["tpo"], answers).gradient(old)
    p = old.flatten().softmax(0)
    q = (old.flatten() + torch.tensor([1.0, -1.0])).softmax(0)
    torch.testing.assert_close(g.flatten(), p - q, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "silent"), [("tpo", True), ("grpo", True), ("reinforce", False)])
def test_a_group_that_says_nothing_has_no_gradient_at_all(name, silent):
    """Of four rewards 0 at the snapshot exactly 0: rounding would be a full step to Adam.  A batch mean speaks."""
    answers, _ = batch()
    old, flat = answers.old_logp.float(), answers.prompt == 0
    equal = Answers(old, answers.mask.float(), answers.reward.float().masked_fill(flat, 0.0), answers.prompt)
    _, g = Update(ALGORITHMS[name], equal).gradient(old)
    assert bool(g[flat].any()) != silent
    assert bool(g[~flat].any())


@pytest.mark.parametrize("name", ["tpo", "grpo+informative"])
def test_a_kl_to_the_reference_is_added_answer_by_answer(name):
    """kl times the mean over answers of their means over tokens of e^c - c - 1, in the loss and in every gradient."""
    plain, logp = batch()
    ref = plain.old_logp - 0.3
    answers, _ = batch(ref_logp=ref, reward=torch.zeros(N, dtype=torch.float64))
    loss, g = Update(require_algorithm(name), answers, kl=0.1).gradient(logp)
    without, h = Update(require_algorithm(name), answers).gradient(logp)
    c, tokens = (ref - logp) * answers.mask, answers.mask.sum(1)
    torch.testing.assert_close(loss - without, 0.1 * ((c.exp() - c - 1).sum(1) / tokens).mean(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(g - h, 0.1 / N * (1 - c.exp()) * answers.mask / tokens[:, None], rtol=1e-9, atol=1e-12)


def test_groups_must_be_whole():
    """A prompt with fewer answers than others is refused."""
    with pytest.raises(UsageError, match="3 to 5 answers to a prompt"):
        batch(prompt=torch.tensor([2, 0, 1, 0, 2, 1, 1, 0, 2, 2, 1, 1]))


@pytest.mark.parametrize(
    ("name", "alone"),
    [("grpo_trl", True), ("reinforce", True), ("dapo", True), ("gspo", True), ("tpo", False), ("rebel", False),
     ("dpo_online", False), ("grpo_masked", False), ("kl_cov", False)],
)  # fmt: skip
def test_which_algorithms_take_answers_one_by_one(name, alone):
    """Not those whose loss couples the answers to a prompt, or reads their rewards."""
    assert by_row(ALGORITHMS[name]) is alone


@pytest.mark.parametrize(
    ("name", "epochs", "reason"),
    [("tpo_token", 1, "compares next tokens"), ("trpo", 1, "a step of its own"), ("ce", 1, "needs label"),
     ("reinforce", 4, "uses a batch 1 time, not 4"), ("grpo", 4, "")],
)  # fmt: skip
def test_what_engines_cannot_serve(name, epochs, reason):
    """The reason in words, nothing where they can."""
    answer = why_not(ALGORITHMS[name], epochs=epochs)
    assert reason in answer
    assert bool(reason) == bool(answer)
