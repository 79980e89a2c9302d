"""verl with the algorithms of the catalogue: import it in every process, with VERL_USE_EXTERNAL_MODULES.

    VERL_USE_EXTERNAL_MODULES=tpobench.engines.verl python -m verl.trainer.main_ppo ...

exact   trainer.v1.trainer_mode=tpobench, algorithm.adv_estimator=tpobench-tpo, loss_mode=gpg, loss_agg_mode=
        seq-mean-token-sum: every algorithm, one optimizer step for each batch.  A token's advantage is -N dL/dlogp, N
        answers in the batch, so that verl's plain policy gradient has the algorithm's gradient under any split.
by row  algorithm.adv_estimator=tpobench-credit-grpo_trl, loss_mode=tpobench-grpo_trl, any trainer: the algorithm's
        credit, and its fit of every answer alone: several epochs and mini-batches, for algorithms that allow it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from torch import Tensor
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import register as register_reward_manager
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
from verl.trainer.ppo.core_algos import register_adv_est, register_policy_loss
from verl.trainer.ppo.v1 import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.trial import sequences
from tpobench.engines.answers import VERL_OFFERS, Answers, Update, by_row, why_not
from tpobench.errors import UsageError

NAME = "verl"
EXACT, CREDIT = "tpobench-", "tpobench-credit-"
LOG_PROBS = ("old_log_probs", "ref_log_prob", "rollout_log_probs")  # as verl calls them
FIELDS = dict(zip(LOG_PROBS, ("old_logp", "ref_logp", "rollout_logp"), strict=True))
Snapshot = dict[str, Tensor]
SNAPSHOT: ContextVar[Snapshot | None] = ContextVar("snapshot", default=None)  # of the batch whose advantages are taken
KL: ContextVar[float] = ContextVar("kl", default=0.0)  # trainer.v1.tpobench.kl_reference


@register_trainer("tpobench")
class ExactTrainer(PPOTrainerSync):
    """The synchronous trainer, whose advantage estimators may ask for log-probs of the batch."""

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """verl's, beside the log-probs that it does not hand over, in the same order of answers."""
        fields = ["response_mask", *LOG_PROBS]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        padded = DataProto(batch=data.to_padded_tensor()).batch
        token = SNAPSHOT.set({name: padded[name] for name in LOG_PROBS if name in padded})
        kl = KL.set(float(self.config.trainer.v1.get("tpobench", {}).get("kl_reference", 0.0)))
        try:
            return super()._compute_advantage(batch, metrics)
        finally:
            SNAPSHOT.reset(token)
            KL.reset(kl)


@register_reward_manager("tpobench")
class EndedAnswers(NaiveRewardManager):
    """verl's, but an answer that was cut, not ended by the model, has reward 0 and is not right."""

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Reward and what is logged beside it, of one answer."""
        result: dict[str, Any] = await super().run_single(data)
        item = data[-1:][0].batch
        length = int(item["attention_mask"][-len(item["responses"]) :].sum())
        last = int(item["responses"][length - 1])
        ended = length < self.config.data.max_response_length or last == self.tokenizer.eos_token_id
        extra = {name: value * ended for name, value in result["reward_extra_info"].items()}
        return {"reward_score": result["reward_score"] * ended, "reward_extra_info": extra}


def answers_of(token_level_rewards: Tensor, response_mask: Tensor, index: Any, snapshot: Snapshot) -> Answers:
    """A batch of verl's: the reward of an answer is the sum of its tokens', `index` tells prompts apart."""
    _, prompt = np.unique(np.asarray(index), return_inverse=True)
    logp = {FIELDS[name]: x for name, x in snapshot.items()}
    return Answers(
        old_logp=logp.get("old_logp", torch.zeros_like(response_mask, dtype=torch.float32)),
        mask=response_mask,
        reward=(token_level_rewards * response_mask).sum(-1),
        prompt=torch.as_tensor(prompt.reshape(-1), device=response_mask.device),
        ref_logp=logp.get("ref_logp"),
        rollout_logp=logp.get("rollout_logp"),
    )


def exact_advantage(algorithm: Algorithm) -> Callable[..., tuple[Tensor, Tensor]]:
    """An advantage estimator of verl, A = -N dL/dlogp at the snapshot."""

    def advantage(token_level_rewards: Tensor, response_mask: Tensor, index: Any, **_: object) -> tuple[Tensor, Tensor]:
        snapshot = SNAPSHOT.get()
        if snapshot is None:
            msg = f"{EXACT}{algorithm.name} needs the log-probs of the batch: set trainer.v1.trainer_mode=tpobench"
            raise UsageError(msg)
        answers = answers_of(token_level_rewards, response_mask, index, snapshot)
        g = Update(algorithm, answers, kl=KL.get()).gradient(answers.old_logp)[1]
        A = -len(answers.reward) * g * response_mask
        return A, A

    return advantage


def credit_advantage(algorithm: Algorithm) -> Callable[..., tuple[Tensor, Tensor]]:
    """An advantage estimator of verl, the algorithm's credit."""

    def advantage(token_level_rewards: Tensor, response_mask: Tensor, index: Any, **_: object) -> tuple[Tensor, Tensor]:
        answers = answers_of(token_level_rewards, response_mask, index, {})
        A = answers.flat(Update(algorithm, answers).credit)
        A = (A if A.dim() == 2 else A.unsqueeze(-1)) * response_mask
        return A, A

    return advantage


def row_loss(algorithm: Algorithm) -> Callable[..., tuple[Tensor, dict[str, Any]]]:
    """A policy loss of verl, the algorithm's fit of every answer, summed over the micro-batch, over the mini-batch's N.

    Every answer is a group of one with its credit as it was taken over the whole batch.
    """
    by_token = algorithm.credit_for(sequences(algorithm).groups).dim() == 4

    def loss(
        old_log_prob: Tensor, log_prob: Tensor, advantages: Tensor, response_mask: Tensor,
        loss_agg_mode: str = "", config: Any = None, rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:  # fmt: skip
        del loss_agg_mode  # part of the algorithm
        if rollout_is_weights is not None:
            msg = (
                f"{EXACT}{algorithm.name}: algorithm.rollout_correction would change the algorithm's loss; leave it off"
            )
            raise UsageError(msg)
        mask = response_mask.to(log_prob.dtype)[None, :, None]
        ones = torch.ones_like(mask[..., 0])
        groups = CandidateGroups(
            old_logp=old_log_prob[None, :, None] * mask, mask=mask, reward=ones, baseline=ones, weight=ones, score=ones,
            draws=1,
        )  # fmt: skip
        of_answer = advantages.gather(1, response_mask.long().argmax(-1, keepdim=True))  # the same on all its tokens
        credit = advantages[None, :, None] if by_token else of_answer[None]
        losses = algorithm.loss(log_prob[None, :, None] * mask, groups, credit)
        batch = dict(config.global_batch_info) if config is not None else {}
        N = batch.get("global_batch_size") or len(log_prob)
        return losses.sum() / N * batch.get("dp_size", 1), {}

    return loss


def register(algorithm: Algorithm) -> None:
    """Make an algorithm known to verl, by every route that serves it."""
    if why_not(algorithm, VERL_OFFERS):
        return
    register_adv_est(f"{EXACT}{algorithm.name}")(exact_advantage(algorithm))
    if by_row(algorithm):
        register_adv_est(f"{CREDIT}{algorithm.name}")(credit_advantage(algorithm))
        register_policy_loss(f"{EXACT}{algorithm.name}")(row_loss(algorithm))


for _name in BUILT_IN:
    register(ALGORITHMS[_name])
