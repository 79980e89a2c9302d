"""Losses of TRL, verl and OpenRLHF as they are, held against the algorithms that they are taken for.

python benchmarks/conformance_libraries.py --docs docs/conformance.md

It needs the libraries (`pip install trl verl openrlhf`); one that is not installed keeps no rows.  Each loss is called
by keyword through an adapter that names its inputs; nothing of it is changed.  Of OpenRLHF the file of losses alone is
run, for its package imports flash-attn.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import importlib.util
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from tpobench.conformance import conformance

MARK = "<!-- written by benchmarks/conformance_libraries.py -->\n"
Loss = Callable[..., Any]


@dataclass(frozen=True)
class Check:
    """What of a library is run, the algorithm that it is held against, and the outcome."""

    library: str
    what: str
    algorithm: str
    make: Callable[[], Loss]
    hyper: Mapping[str, Any] = field(default_factory=dict)
    advantage: Callable[[], Loss] | None = None
    outcome: str = "agrees"


# ---- TRL


def trl(loss_type: str = "dapo", trainer: str = "grpo", **config: Any) -> Callable[[], Loss]:
    """`_compute_loss` of a trainer, whose model and accelerator are not needed."""

    def make() -> Loss:
        from trl import GRPOConfig, RLOOConfig
        from trl.trainer.grpo_trainer import GRPOTrainer
        from trl.trainer.rloo_trainer import RLOOTrainer

        cls, options = (RLOOTrainer, RLOOConfig) if trainer == "rloo" else (GRPOTrainer, GRPOConfig)
        kind = {} if trainer == "rloo" else {"loss_type": loss_type}
        off = {} if "beta" in config else {"beta": 0.0}
        args = options(output_dir=tempfile.gettempdir(), use_cpu=True, bf16=False, report_to=[], **kind, **off)
        for name, value in config.items():
            setattr(args, name, value)

        def loss(
            per_token_logps: Tensor, old_per_token_logps: Tensor, ref_per_token_logps: Tensor, completion_mask: Tensor,
            advantages: Tensor, num_items_in_batch: int, num_processes: int, gradient_accumulation_steps: int,
            max_completion_length: int,
        ) -> Tensor:  # fmt: skip
            stub = MagicMock()
            stub.args, stub.loss_type, stub.beta = args, loss_type, args.beta
            stub.importance_sampling_level = getattr(args, "importance_sampling_level", "token")
            stub.epsilon_low = args.epsilon
            high = getattr(args, "epsilon_high", None)
            stub.epsilon_high = args.epsilon if high is None else high
            stub.top_entropy_quantile, stub.off_policy_mask_threshold = 1.0, None
            stub.use_vllm = stub._entropy_bonus_enabled = stub.aux_loss_enabled = False
            stub.max_completion_length, stub.model.training = max_completion_length, True
            stub.current_gradient_accumulation_steps = args.steps_per_generation = gradient_accumulation_steps
            stub.accelerator.num_processes = num_processes
            stub.accelerator.gather = stub.accelerator.gather_for_metrics = lambda x: x
            stub.accelerator.reduce = lambda x, reduction=None: x  # noqa: ARG005 - its signature
            stub.get_gamma_weights = getattr(cls, "get_gamma_weights", None)
            entropies = torch.zeros_like(per_token_logps)
            stub._get_per_token_logps_and_entropies = lambda *_, **__: (per_token_logps, entropies, None)
            ids = torch.zeros_like(completion_mask, dtype=torch.long)
            inputs = {
                "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1] + 1, "completion_ids": ids,
                "completion_mask": completion_mask, "advantages": advantages,
                "old_per_token_logps": old_per_token_logps, "ref_per_token_logps": ref_per_token_logps,
                "num_items_in_batch": torch.tensor(float(num_items_in_batch)),
                "old_logps": (old_per_token_logps * completion_mask).sum(-1),
            }  # fmt: skip
            if trainer == "rloo":  # which takes one advantage of each answer
                inputs["advantages"] = (advantages * completion_mask).sum(-1) / completion_mask.sum(-1)
            loss = cls._compute_loss(stub, None, inputs)
            return loss / gradient_accumulation_steps if trainer == "rloo" else loss  # as transformers' Trainer does

        return loss

    return make


# ---- verl


def verl(
    mode: str = "vanilla", agg: str = "token-mean", dro_beta: float | None = None, **config: Any
) -> Callable[[], Loss]:
    """A policy loss of its registry, with the batch's totals as its trainer hands them over."""

    def make() -> Loss:
        from verl.trainer.ppo.core_algos import get_policy_loss_fn
        from verl.workers.config import ActorConfig, PolicyLossConfig

        policy = PolicyLossConfig(loss_mode=mode, **({} if dro_beta is None else {"dro_beta": dro_beta}))
        actor = ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=1, policy_loss=policy, **config)

        def loss(
            old_log_prob: Tensor, log_prob: Tensor, advantages: Tensor, response_mask: Tensor, dp_size: int,
            batch_num_tokens: int, global_batch_size: int, loss_scale_factor: int,
        ) -> Any:  # fmt: skip
            actor.global_batch_info.update(
                dp_size=dp_size, batch_num_tokens=batch_num_tokens, global_batch_size=global_batch_size,
                loss_scale_factor=loss_scale_factor,
            )  # fmt: skip
            return get_policy_loss_fn(mode)(
                old_log_prob=old_log_prob, log_prob=log_prob, advantages=advantages, response_mask=response_mask,
                loss_agg_mode=agg, config=actor,
            )  # fmt: skip

        return loss

    return make


def verl_advantage(name: str, **more: Any) -> Callable[[], Loss]:
    """An advantage estimator of its registry."""

    def make() -> Loss:
        from verl.trainer.ppo.core_algos import get_adv_estimator_fn

        estimator = get_adv_estimator_fn(name)

        def advantage(token_level_rewards: Tensor, response_mask: Tensor, index: Any, reward_baselines: Tensor) -> Any:
            needs = {"remax": {"reward_baselines": reward_baselines}, "reinforce_plus_plus": {}}.get(
                name, {"index": index}
            )
            return estimator(token_level_rewards=token_level_rewards, response_mask=response_mask, **needs, **more)

        return advantage

    return make


# ---- OpenRLHF


def openrlhf(**options: Any) -> Callable[[], Loss]:
    """Its PolicyLoss."""

    def make() -> Loss:
        return openrlhf_losses().PolicyLoss(**options)  # type: ignore[no-any-return]

    return make


def openrlhf_losses() -> types.ModuleType:
    """Its file of losses, run without the package around it."""
    spec = importlib.util.find_spec("openrlhf")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "models"
    utils = ast.parse((folder / "utils.py").read_text(encoding="utf-8"))
    mean = [node for node in utils.body if isinstance(node, ast.FunctionDef) and node.name == "masked_mean"]
    module = types.ModuleType("openrlhf_losses")
    text = (folder / "loss.py").read_text(encoding="utf-8").replace("from .utils import masked_mean", "")
    exec(compile("from typing import *\nimport torch", "openrlhf", "exec"), vars(module))  # noqa: S102 - what it imports
    exec(compile(ast.Module(mean, []), str(folder / "utils.py"), "exec"), vars(module))  # noqa: S102 - the library
    exec(compile(text, str(folder / "loss.py"), "exec"), vars(module))  # noqa: S102 - the library
    return module


NO_DUAL = {"clip_ratio_c": 1e9}
GRPO, NO_STD = verl_advantage("grpo"), verl_advantage("grpo", norm_adv_by_std_in_grpo=False)
SIX = {"epsilon": 1e-6}
CHECKS = (
    Check("trl", "GRPOTrainer, defaults", "grpo_trl", trl()),
    Check("trl", "loss_type grpo", "grpo_token_ratio", trl("grpo")),
    Check("trl", "loss_type grpo, beta .04", "grpo_deepseek", trl("grpo", beta=0.04), {"kl_ratio": True}),
    Check("trl", "loss_type grpo, beta .04", "grpo_deepseek", trl("grpo", beta=0.04), outcome="differs"),
    Check("trl", "the same, use_bias_correction_kl=False", "grpo_deepseek",
          trl("grpo", beta=0.04, use_bias_correction_kl=False)),
    Check("trl", "loss_type dr_grpo", "dr_grpo", trl("dr_grpo")),
    Check("trl", "loss_type bnpo", "grpo_trl", trl("bnpo")),
    Check("trl", "loss_type grpo, level sequence, 3e-4 and 4e-4", "gspo",
          trl("grpo", importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4)),
    Check("trl", "loss_type luspo, level sequence, .1 and .15", "luspo",
          trl("luspo", importance_sampling_level="sequence", epsilon=0.1, epsilon_high=0.15)),
    Check("trl", "loss_type cispo, epsilon_high 5", "cispo", trl("cispo", epsilon_high=5.0)),
    Check("trl", "loss_type sapo", "sapo", trl("sapo")),
    Check("trl", "loss_type vespo", "vespo", trl("vespo")),
    Check("trl", "GRPOTrainer, defaults, epsilon_high .28", "grpo_trl", trl(epsilon_high=0.28), {"clip_high": 0.28}),
    Check("trl", "RLOOTrainer", "rloo_clipped", trl(trainer="rloo")),
    Check("verl", "vanilla with its grpo advantage, defaults", "grpo_verl", verl(), advantage=GRPO),
    Check("verl", "vanilla with its grpo advantage, defaults", "grpo_trl", verl(), advantage=GRPO, outcome="differs"),
    Check("verl", "vanilla, no dual clip", "grpo_trl", verl(**NO_DUAL), SIX, GRPO),
    Check("verl", "vanilla, seq-mean-token-sum-norm, no std", "dr_grpo", verl(agg="seq-mean-token-sum-norm", **NO_DUAL),
          advantage=NO_STD),
    Check("verl", "gspo", "gspo", verl("gspo", "seq-mean-token-mean"), {**SIX, "clip": 0.2, "clip_high": 0.2}, GRPO),
    Check("verl", "geo_mean, clip .4", "gmpo",
          verl("geo_mean", "seq-mean-token-mean", clip_ratio=0.4, clip_ratio_low=0.4, clip_ratio_high=0.4), SIX, GRPO),
    Check("verl", "sapo", "sapo", verl("sapo", "seq-mean-token-mean"), SIX, GRPO),
    Check("verl", "cispo, .2 above", "cispo", verl("cispo", clip_ratio_low=10.0, clip_ratio_high=0.2),
          {**SIX, "cap": 1.2}, GRPO),
    Check("verl", "dppo_tv", "dppo_tv",
          verl("dppo_tv", clip_ratio=0.2, clip_ratio_low=0.2, clip_ratio_high=0.2, clip_ratio_c=20.0), SIX, GRPO),
    Check("verl", "gpg with its rloo advantage, seq-mean-token-sum", "rloo", verl("gpg", "seq-mean-token-sum"),
          advantage=verl_advantage("rloo")),
    Check("verl", "gpg with its opo advantage, seq-mean-token-sum", "opo", verl("gpg", "seq-mean-token-sum"),
          advantage=verl_advantage("opo")),
    Check("verl", "gpg with its remax advantage", "remax", verl("gpg"), advantage=verl_advantage("remax")),
    Check("verl", "vanilla with its reinforce_plus_plus_baseline advantage", "reinforce_pp_baseline", verl(**NO_DUAL),
          advantage=verl_advantage("reinforce_plus_plus_baseline"), outcome="differs"),
    Check("verl", "dro, beta .1, seq-mean-token-mean, no std", "dro", verl("dro", "seq-mean-token-mean", 0.1),
          {"beta": 0.1}, NO_STD),
    Check("openrlhf", "PolicyLoss, defaults", "grpo_trl", openrlhf()),
    Check("openrlhf", "PolicyLoss, dual_clip 3", "grpo_verl", openrlhf(dual_clip=3.0)),
    Check("openrlhf", "PolicyLoss, token_level_loss=False", "grpo_token_ratio", openrlhf(token_level_loss=False)),
    Check("openrlhf", "PolicyLoss, gspo, .2", "gspo", openrlhf(policy_loss_type="gspo"),
          {"clip": 0.2, "clip_high": 0.2}),
    Check("openrlhf", "PolicyLoss, is_correction token, clip to 2", "grpo_trl+tis",
          openrlhf(is_correction_level="token", is_correction_mode="clip", is_correction_threshold=[0.0, 2.0])),
)  # fmt: skip


def installed(library: str) -> bool:
    """Whether a library is there."""
    return importlib.util.find_spec(library) is not None


def held(check: Check) -> tuple[Any, Any]:
    """Its findings against the algorithm, and as identified."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss, advantage = check.make(), check.advantage and check.advantage()
        return (
            conformance(loss, check.algorithm, hyper=check.hyper, advantage=advantage),
            conformance(loss, advantage=advantage),
        )


def lines() -> Iterator[str]:
    """The table, with the versions of what was run."""
    versions = {c.library: importlib.metadata.version(c.library) for c in CHECKS if installed(c.library)}
    yield ", ".join(f"{name} {version}" for name, version in versions.items()) + f", torch {torch.__version__}.\n"
    yield "| library | what is run | held against | outcome | largest difference | identified as | splits |"
    yield "|---|---|---|---|---|---|---|"
    for check in CHECKS:
        if check.library not in versions:
            continue
        findings, identity = held(check)
        hyper = "".join(f", {k}={v}" for k, v in check.hyper.items())
        worst = max(r.off for r in findings.results if r.counts)
        name = identity.headline.removeprefix("IDENTIFIED: ").partition(": no")[0].partition("; ")[0]
        also = "".join(f"; {text}" for text in (identity.best.differences if identity.best else ()))
        split = next(p.state for p in findings.promises if p.promise.startswith("micro"))
        yield (
            f"| {check.library} | {check.what} | {check.algorithm}{hyper} | {findings.outcome} | {worst:.0e} | "
            f"{name}{also} | {split} |"
        )


def main() -> None:
    """Print the table, or write it below the mark of a document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path)
    where = parser.parse_args().docs
    text = "\n".join(lines()) + "\n"
    if where is None:
        print(text)
        return
    head, mark, _ = where.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{where} has no place for the table"
    where.write_text(head + mark + "\n" + text, encoding="utf-8")


if __name__ == "__main__":
    main()
