"""TRL's GRPOTrainer with a loss of the catalogue: several devices, DeepSpeed, FSDP and vLLM through accelerate.

    from tpobench.engines.trl import GroupTrainer
    GroupTrainer("Qwen/Qwen3-1.7B", reward, GRPOConfig(...), dataset, algorithm="tpo").train()

Algorithms couple the answers to a prompt, and TRL shuffles answers over micro-batches and ranks.  So before each
optimizer step the log-probs of the whole batch are taken without graph, the loss and its gradient g by them are
computed on every rank, and the step follows sum g log pi: exact for every algorithm and every split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import set_seed
from trl import GRPOConfig, GRPOTrainer

from tpobench.algorithms.algorithm import Algorithm, Memory
from tpobench.algorithms.catalog import require_algorithm
from tpobench.algorithms.groups import concentration
from tpobench.engines.answers import TRL_OFFERS, Answers, Update, require_served
from tpobench.errors import UsageError

NAME = "trl"
# What of a GRPOConfig would change the loss behind the algorithm's back, and its only value here.
PLAIN = {
    "loss_type": "dapo", "importance_sampling_level": "token", "delta": None, "top_entropy_quantile": 1.0,
    "off_policy_mask_threshold": None, "mask_truncated_completions": False, "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
}  # fmt: skip
CLIPPED = "clip_ratio/"  # metrics of TRL's own ratio, which is always 1 here


class GroupTrainer(GRPOTrainer):
    """GRPOTrainer whose loss is mean_B fit(log pi, groups, credit) of an algorithm, plus beta times TRL's KL.

    kl: of the KL to the reference as the built-in loop has it, a mean over answers of their means over tokens.
    `num_iterations` are the epochs.  What is sampled depends on the seed, the step and the rank alone, so that two
    algorithms begin with the same answers.  Metrics are TRL's, and `loss` is the algorithm's.

    Raises:
        UsageError: no such algorithm, it cannot be trained so, or the config holds what would change its loss.
    """

    def __init__(
        self, model: Any, reward_funcs: Any, args: GRPOConfig, *rest: Any,
        algorithm: Algorithm | str, kl: float = 0.0, **more: Any,
    ) -> None:  # fmt: skip
        self.algorithm = require_algorithm(algorithm, NAME) if isinstance(algorithm, str) else algorithm
        _require_plain(args)
        reference = args.beta != 0 or more.get("peft_config") is not None or isinstance(model, PeftModel)
        optional = {*(["ref_logp"] * reference), *(["rollout_logp"] * args.use_vllm)}
        require_served(self.algorithm, NAME, TRL_OFFERS | optional, args.num_iterations)
        if kl and not reference:
            msg = f"{NAME}: kl={kl:g} needs a reference: train an adapter (peft_config), or set beta"
            raise UsageError(msg)
        self._memory: Memory = {}
        self._kl = kl
        self._rewards = torch.empty(0)  # (N, M) of all ranks
        self._update: Update | None = None
        self._order = torch.empty(0)  # (N,) of gathered answers, by prompt
        super().__init__(model, reward_funcs, args, *rest, **more)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's, from a seed of its own, with the place of each answer among those of all ranks."""
        at = self.state.global_step if self.model.training else inputs[0]["prompt"]
        rank = self.accelerator.process_index
        set_seed(_seed(self.args.seed, at, rank))
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if "num_images" in output:
            msg = f"{NAME}: prompts with images are not supported; leave them out"
            raise UsageError(msg)
        n = len(inputs)
        output["place"] = torch.arange(rank * n, (rank + 1) * n, device=output["completion_ids"].device)
        return output

    def _calculate_rewards(self, *arguments: Any) -> Tensor:
        """TRL's; what no function scores is 0."""
        rewards: Tensor = super()._calculate_rewards(*arguments)
        self._rewards = rewards.nan_to_num(0.0)
        return rewards

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """TRL's; before the first micro-batch of an optimizer step, the gradient of every token."""
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        if self.model.training and self._step % self.args.steps_per_generation == 0:
            self._weigh(self._buffered_inputs)
        return inputs

    @torch.no_grad()
    def _weigh(self, batches: Sequence[dict[str, Any]]) -> None:
        """Make -g of every token its advantage, in the scale of TRL's loss, whose ratio is then 1."""
        fresh = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        logp, entropy = self._scored(batches, entropy=fresh and "entropy" in self.algorithm.needs)
        if fresh:
            tokens = {"old_logp": logp} | ({} if entropy is None else {"entropy": entropy})
            self._update = self._begun(batches, tokens)
        assert self._update is not None  # noqa: S101 - the first step of a batch has made it
        loss, g = self._update.gradient(self._gathered(logp)[self._order])
        for b in batches:
            own = g[b["place"], : b["completion_ids"].shape[1]]
            b["advantages"] = -own * b["num_items_in_batch"]
            b["shift"] = loss / len(batches) - self.accelerator.num_processes * own.sum()
            b.pop("old_per_token_logps", None)  # TRL then takes the present ones

    def _begun(self, batches: Sequence[dict[str, Any]], tokens: dict[str, Tensor]) -> Update:
        """The update of a new rollout batch: answers of all ranks in the order of prompts."""
        tokens["mask"] = torch.cat([_mask(b) for b in batches])
        if self._kl or "ref_logp" in self.algorithm.needs:
            tokens["ref_logp"] = self._reference(batches)
        if "rollout_logp" in self.algorithm.needs:
            sampled = torch.cat([b["sampling_per_token_logps"] for b in batches])
            tokens["rollout_logp"] = torch.where(sampled.isnan(), tokens["old_logp"], sampled)
        self._order = self.accelerator.gather(torch.cat([b["place"] for b in batches])).argsort()
        answers = Answers(
            **{name: self._gathered(x)[self._order] for name, x in tokens.items()},
            reward=self._rewards @ self.reward_weights.to(self._rewards),
            prompt=torch.arange(len(self._order), device=self._order.device) // self.num_generations,
            rewards=self._rewards,
            progress=self.state.global_step / self.state.max_steps,
        )
        update = Update(self.algorithm, answers, self._memory, self._kl)
        for name, value in concentration(update.groups).items():
            self._metrics["train"][name].append(value.item())
        return update

    def _scored(self, batches: Sequence[dict[str, Any]], *, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs of this rank's answers under the present policy, and the entropies: (n, T)."""
        pairs = []
        for b in batches:
            ids = torch.cat([b["prompt_ids"], b["completion_ids"]], dim=1)
            attention = torch.cat([b["prompt_mask"], b["completion_mask"]], dim=1)
            T = b["completion_ids"].shape[1]
            pairs.append(
                self._get_per_token_logps_and_entropies(self.model, ids, attention, T, compute_entropy=entropy)[:2]
            )
        logp, entropies = zip(*pairs, strict=True)
        return torch.cat(logp), torch.cat(entropies) if entropy else None

    def _reference(self, batches: Sequence[dict[str, Any]]) -> Tensor:
        """Log-probs under the model before training: TRL's where beta is set, else without the adapter."""
        if self.beta != 0:
            return torch.cat([b["ref_per_token_logps"] for b in batches])
        with self.accelerator.unwrap_model(self.model).disable_adapter():
            return self._scored(batches)[0]

    def _gathered(self, x: Tensor) -> Tensor:
        """(n, T) of each rank -> (N, T) of all."""
        every: Tensor = self.accelerator.gather(self.accelerator.pad_across_processes(x, dim=1))
        return every

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's, whose gradient is that of sum g log pi, with the value of the algorithm's loss."""
        loss: Tensor = super()._compute_loss(model, inputs)
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name in [name for name in metrics if name.startswith(CLIPPED)]:
            del metrics[name]
        shift: Tensor | float = inputs.get("shift", 0.0)
        return loss + shift


def _mask(batch: Mapping[str, Any]) -> Tensor:
    """1 on tokens that the policy chose."""
    mask: Tensor = batch["completion_mask"] * batch.get("tool_mask", 1)
    return mask


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little")


def _require_plain(args: GRPOConfig) -> None:
    """Options of TRL that change its loss are off.

    Raises:
        UsageError: one is not.
    """
    for name, value in PLAIN.items():
        if getattr(args, name) != value:
            msg = f"{NAME}: {name}={getattr(args, name)!r} would change the algorithm's loss; leave it at {value!r}"
            raise UsageError(msg)
    if args.steps_per_generation != args.gradient_accumulation_steps:
        msg = (
            f"{NAME}: steps_per_generation={args.steps_per_generation} would cut a batch into several updates; leave "
            f"it at gradient_accumulation_steps, {args.gradient_accumulation_steps}"
        )
        raise UsageError(msg)
    if args.use_vllm and args.vllm_importance_sampling_correction:
        msg = (
            f"{NAME}: vllm_importance_sampling_correction would change the algorithm's loss; set it to False, and "
            "where you want a correction name it: tpo+tis, tpo+icepop"
        )
        raise UsageError(msg)
