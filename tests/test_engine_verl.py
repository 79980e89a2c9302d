"""The algorithms of the catalogue in verl's registries, where verl is installed."""

import warnings

import pytest
import torch

pytest.importorskip("verl")
pytest.importorskip("transfer_queue")

with warnings.catch_warnings():  # of verl's own imports
    warnings.simplefilter("ignore")
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn, get_policy_loss_fn
    from verl.workers.config import ActorConfig

    from tpobench.engines.verl import CREDIT, EXACT, SNAPSHOT, answers_of

from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
from tpobench.engines.answers import VERL_OFFERS, Update, by_row, why_not
from tpobench.errors import UsageError

pytestmark = [pytest.mark.filterwarnings("ignore")]
N, T = 12, 5
SERVED = [n for n in BUILT_IN if not why_not(ALGORITHMS[n], VERL_OFFERS)]
BY_ROW = [n for n in SERVED if by_row(ALGORITHMS[n])]


def batch():
    """Rewards at the last token, the mask, uids in no order, and log-probs."""
    rng = torch.Generator().manual_seed(0)
    length = 1 + torch.randint(T, (N, 1), generator=rng)
    mask = (torch.arange(T) < length).double()
    rewards = (torch.arange(T) == length - 1) * torch.rand(N, 1, generator=rng, dtype=torch.float64)
    uid = ["c", "a", "b", "a", "c", "b", "b", "a", "c", "c", "b", "a"]
    old, ref, sampled = -2 * torch.rand(3, N, T, generator=rng, dtype=torch.float64)
    snapshot = {"old_log_probs": old, "ref_log_prob": ref, "rollout_log_probs": sampled}
    return rewards, mask, uid, snapshot, old + 0.3 * torch.randn(N, T, generator=rng, dtype=torch.float64)


def gradient_of(mode, agg, old, logp, advantages, mask):
    """Of verl's loss of that mode over two ranks of two micro-batches of three answers in another order."""
    config = ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=3)
    config.global_batch_info.update(dp_size=2, batch_num_tokens=int(mask.sum()), global_batch_size=N)
    leaf, order = logp.clone().requires_grad_(), torch.randperm(N, generator=torch.Generator().manual_seed(1))
    loss = sum(
        get_policy_loss_fn(mode)(
            old_log_prob=old[rows], log_prob=leaf[rows], advantages=advantages[rows], response_mask=mask[rows],
            loss_agg_mode=agg, config=config,
        )[0]
        for rows in order.split(3)
    ) / 2  # gradients of ranks are averaged  # fmt: skip
    return torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("name", SERVED)
def test_verls_own_gradient_is_the_algorithms_at_the_snapshot(name):
    """-N dL/dlogp as the advantage of verl's `gpg`: equal to 1e-9 under any order, micro-batches and ranks."""
    rewards, mask, uid, snapshot, _ = batch()
    answers = answers_of(rewards, mask, uid, snapshot)
    _, expected = Update(ALGORITHMS[name], answers).gradient(answers.old_logp)
    token = SNAPSHOT.set(snapshot)
    try:
        A, _ = get_adv_estimator_fn(f"{EXACT}{name}")(token_level_rewards=rewards, response_mask=mask, index=uid)
    finally:
        SNAPSHOT.reset(token)
    old = snapshot["old_log_probs"]
    actual = gradient_of("gpg", "seq-mean-token-sum", old, old, A, mask)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", BY_ROW)
def test_the_registered_loss_is_the_algorithms_off_the_snapshot(name):
    """The registered credit and fit, answer by answer, have the algorithm's gradient, to 1e-9."""
    rewards, mask, uid, snapshot, logp = batch()
    old = {"old_log_probs": snapshot["old_log_probs"]}
    _, expected = Update(ALGORITHMS[name], answers_of(rewards, mask, uid, old)).gradient(logp)
    A, _ = get_adv_estimator_fn(f"{CREDIT}{name}")(token_level_rewards=rewards, response_mask=mask, index=uid)
    actual = gradient_of(f"{EXACT}{name}", "token-mean", snapshot["old_log_probs"], logp, A, mask)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_without_its_trainer_the_exact_route_says_what_is_missing():
    """An estimator of verl is handed no log-probs."""
    rewards, mask, uid, *_ = batch()
    with pytest.raises(UsageError, match=r"trainer\.v1\.trainer_mode=tpobench"):
        get_adv_estimator_fn("tpobench-tpo")(token_level_rewards=rewards, response_mask=mask, index=uid)
