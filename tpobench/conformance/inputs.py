"""What a loss may be handed: one flat batch of N = B K answers, and the names that libraries give its parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tpobench.algorithms.advantages import last_token
from tpobench.algorithms.trial import Case
from tpobench.errors import UsageError, unknown

# What each input is, and how TRL, verl, OpenRLHF, SkyRL and prime-rl name it; case, underscores and a plural s apart.
INPUTS = {
    "log_probs": ("(N, T) of the policy that is trained", ("log_prob logp logps logprob per_token_logps new_log_probs "
                  "new_logps policy_log_probs current_log_probs trainer_log_probs token_log_probs pi_logp")),
    "old_log_probs": ("(N, T) of the snapshot that drew the answers", ("old_logp old_logps old_logprobs "
                      "old_per_token_logps old_action_log_probs behavior_log_probs old_policy_log_probs")),
    "ref_log_probs": ("(N, T) of the reference policy", ("ref_logp ref_logps ref_logprobs ref_per_token_logps "
                      "reference_log_probs base_action_log_probs base_log_probs reference_logps")),
    "rollout_log_probs": ("(N, T) of the sampler, where it is not the snapshot", ("rollout_logp rollout_logps "
                          "rollout_logprobs sampling_per_token_logps sampling_logps sampler_log_probs "
                          "inference_log_probs inference_logprobs vllm_log_probs generation_logprobs")),
    "mask": ("(N, T), 1 on tokens that count", ("response_mask loss_mask action_mask completion_mask masks "
             "eos_mask token_mask response_masks")),
    "advantages": ("(N, T) or (N,), from the rewards of each group", "advantage adv advs token_advantages"),
    "rewards": ("(N,) of whole answers", "reward scores score returns_per_answer sequence_rewards outcome_rewards"),
    "token_rewards": ("(N, T), the reward at the last token",
                      "token_level_rewards token_level_scores per_token_rewards"),
    "group_ids": ("(N,) whole numbers, equal for answers to one prompt", ("group groups group_id group_index index uid "
                  "uids prompt_index prompt_ids_index group_idx group_indices")),
    "greedy_rewards": ("(N,) of the greedy answer to the same prompt", ("reward_baselines greedy_reward "
                       "baseline_rewards")),
    "values": ("(N, T) of a critic before each token", "value old_values"),
    "entropies": ("(N, T) of the snapshot before each token", "entropy token_entropies"),
    "group_size": ("K, a number", ("num_generations rollout_n n_samples_per_prompt num_samples_per_prompt "
                   "num_rollouts n_samples samples_per_prompt n_rollouts")),
    "max_length": ("T, a number: what Dr.GRPO divides by", ("max_completion_length max_response_length max_len "
                   "max_tokens max_new_tokens generate_max_len loss_scale_factor max_response_len")),
    "batch_tokens": ("tokens of the whole batch, a number", ("num_items_in_batch batch_num_tokens num_tokens "
                     "total_tokens global_num_tokens global_tokens num_loss_tokens global_valid_toks")),
    "batch_answers": ("answers of the whole batch, a number", ("global_batch_size num_sequences num_answers "
                      "batch_num_sequences global_valid_seqs")),
    "world_size": ("ranks whose gradients are averaged, a number", "num_processes dp_size n_ranks num_ranks"),
    "accumulation_steps": ("micro-batches whose gradients are added, a number", ("gradient_accumulation_steps "
                           "current_gradient_accumulation_steps num_micro_batches grad_accum_steps")),
}  # fmt: skip
NUMBERS = ("group_size", "max_length", "batch_tokens", "batch_answers", "world_size", "accumulation_steps")
TOKENS = ("log_probs", "old_log_probs", "ref_log_probs", "rollout_log_probs", "values", "entropies")


def plain(name: str) -> str:
    """A name without case, underscores and plural: `old_log_probs` and `oldLogProb` are one."""
    return name.lower().replace("_", "").rstrip("s")


ALIASES = {plain(alias): name for name, (_, aliases) in INPUTS.items() for alias in (name, *aliases.split())}


@dataclass(frozen=True)
class Batch:
    """Tensors by name, rows first, and numbers; of a part of a batch the numbers stay those of the whole."""

    name: str
    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens that count."""
        return int(self.tensors["mask"].sum())

    def but(self, **tensors: Tensor) -> Batch:
        """The same with other tensors."""
        return dataclasses.replace(self, tensors={**self.tensors, **tensors})

    def rows(self, index: Tensor) -> Batch:
        """Some answers, or all in another order."""
        return dataclasses.replace(self, tensors={name: x[index] for name, x in self.tensors.items()})

    def counting(self, **numbers: int) -> Batch:
        """The same with other numbers."""
        return dataclasses.replace(self, numbers={**self.numbers, **numbers})

    def to(self, dtype: torch.dtype) -> Batch:
        """The same in another precision; group ids stay whole numbers."""
        return self.but(**{k: x.to(dtype) for k, x in self.tensors.items() if k != "group_ids"})


def flat(case: Case, advantages: Tensor) -> Batch:
    """A case (1, B, K, T) as trainers hold it, with advantages (1, B, K) or (1, B, K, T) beside."""
    g = case.groups
    _, B, K, T = case.logp.shape
    by_token = advantages if advantages.dim() == 4 else advantages.unsqueeze(-1).expand(1, B, K, T)
    tensors = {
        "log_probs": case.logp, "old_log_probs": g.old_logp, "ref_log_probs": g.ref_logp,
        "rollout_log_probs": g.rollout_logp, "values": g.value, "entropies": g.entropy, "mask": g.mask,
        "advantages": by_token * g.mask, "rewards": g.reward, "token_rewards": last_token(g) * g.reward.unsqueeze(-1),
    }  # fmt: skip
    rows = {name: x.reshape(B * K, *x.shape[3:]) for name, x in tensors.items() if x is not None}
    assert g.greedy_reward is not None  # noqa: S101 - all cases have one
    rows["greedy_rewards"] = g.greedy_reward.flatten().repeat_interleave(K)
    rows["group_ids"] = torch.arange(B).repeat_interleave(K)
    numbers = {"group_size": K, "max_length": T, "batch_tokens": int(g.mask.sum()), "batch_answers": B * K}
    return Batch(case.name, rows, {**numbers, "world_size": 1, "accumulation_steps": 1})


def matched(parameters: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, str]:
    """Parameter -> input, for all that are known by name and not given otherwise.

    Raises:
        UsageError: two parameters mean one input, or `given` names one that is not there.
    """
    for name in given:
        if name not in parameters:
            raise unknown("parameter", name, parameters, where)
    inputs = {p: ALIASES[plain(p)] for p in parameters if p not in given and plain(p) in ALIASES}
    for one in inputs.values():
        if len(same := [p for p, i in inputs.items() if i == one]) > 1:
            msg = f"{where}: '{same[0]}' and '{same[1]}' both mean {one}; give one of them with --with {same[1]}=VALUE"
            raise UsageError(msg)
    return inputs
