"""verl: its files, and how it names what it logs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
from tpobench.data.files import MODELS
from tpobench.engines.answers import VERL_OFFERS
from tpobench.policies.pretrained import RANDOM
from tpobench.recipes.grading import chat_template
from tpobench.recipes.model import UNCLIPPED, Engine, Recipe

PROMPT_TOKENS = 1024
RUN_SH = """\
#!/bin/sh
# sh run.sh: every run, one after the other; sh run.sh runs/tpo/seed_0: one of them.  A run that was stopped goes on
# from its last checkpoint.  What follows `--` goes to verl: sh run.sh runs/tpo/seed_0 -- trainer.nnodes=2
set -e
cd "$(dirname "$0")"
runs=""
while [ $# -gt 0 ] && [ "$1" != "--" ]; do runs="$runs $1"; shift; done
[ $# -eq 0 ] || shift
export VERL_USE_EXTERNAL_MODULES=tpobench.engines.verl
for run in ${runs:-runs/*/*}; do
  algorithm="$(basename "$(dirname "$run")")"
  seed="${run##*_}"
  # of the machine: GPUs, and answers that one of them takes at once
  VERL_FILE_LOGGER_PATH="$PWD/$run/log-$(date +%s).jsonl" python -m verl.trainer.main_ppo \\
    --config-path "$PWD" --config-name verl \\
    algorithm.adv_estimator="tpobench-$algorithm" data.seed="$seed" actor_rollout_ref.rollout.seed="$seed" \\
    data.train_files="$PWD/train.jsonl" data.val_files="$PWD/held_out.jsonl" \\
    trainer.experiment_name="$algorithm-seed_$seed" trainer.default_local_dir="$PWD/$run/checkpoints" \\
    trainer.n_gpus_per_node="${GPUS:-8}" \\
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4 \\
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8 \\
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8 \\
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \\
    actor_rollout_ref.rollout.gpu_memory_utilization=0.5 "$@"
done
"""
HEAD = """\
# What verl is told of the suite; run.sh adds the algorithm, the seed and what depends on the machine.
defaults:
  - ppo_trainer
  - _self_
hydra:
  searchpath:
    - pkg://verl.trainer.config
"""


def _files(recipe: Recipe) -> Mapping[str, str]:
    return {"run.sh": RUN_SH, "verl.yaml": HEAD + _yaml(settings(recipe))}


def settings(recipe: Recipe) -> dict[str, Any]:
    """What differs from verl's own configuration, as a tree."""
    task, training = recipe.task, recipe.training
    steps, precision = int(training["steps"]), "float32" if task.precision == "training" else task.precision
    template, kl = chat_template(task, "", begun=False), float(training.get("kl_reference", 0.0))
    clip = training.get("max_grad_norm", UNCLIPPED)
    sampled = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "do_sample": True}
    return {
        "data": {
            "train_batch_size": task.prompts, "max_prompt_length": PROMPT_TOKENS,
            "max_response_length": task.new_tokens, "shuffle": True,
            "apply_chat_template_kwargs": {"enable_thinking": task.thinking},
        },
        "algorithm": {"use_kl_in_reward": False},
        "actor_rollout_ref": {
            "model": {
                "path": task.model, "lora_rank": task.rank, "lora_alpha": task.alpha, "target_modules": "all-linear",
                **({"custom_chat_template": template} if template else {}),
            },
            "actor": {
                "ppo_epochs": 1, "ppo_mini_batch_size": task.prompts, "entropy_coeff": 0,
                "use_kl_loss": kl > 0, "kl_loss_coef": 0.0,  # verl then has the reference, and its KL is ours
                "policy_loss": {"loss_mode": "gpg"}, "loss_agg_mode": "seq-mean-token-sum", "grad_clip": clip,
                "optim": {
                    "lr": training["learning_rate"], "weight_decay": training.get("weight_decay", 0.0),
                    "clip_grad": clip, "lr_scheduler_type": "constant", "lr_warmup_steps": 0,
                },
                "fsdp_config": {"dtype": precision},
            },
            "rollout": {
                "name": "vllm", "n": task.candidates, **sampled, "dtype": precision, "load_format": "safetensors",
                "val_kwargs": {"n": task.samples, **sampled},
            },
        },
        "reward": {
            "reward_manager": {"name": "naive" if task.cut_counts else "tpobench"},
            "custom_reward_function": {
                "path": "pkg://tpobench.recipes.grading", "name": "compute_score",
                "reward_kwargs": {"grader": task.grader},
            },
        },
        "trainer": {
            "project_name": recipe.suite.name, "logger": ["console", "file"], "total_training_steps": steps,
            "total_epochs": math.ceil(steps / max(len(recipe.problems.trained) // task.prompts, 1)),
            "val_before_train": True, "test_freq": recipe.between, "save_freq": recipe.between,
            "max_actor_ckpt_to_keep": 1, "v1": {"trainer_mode": "tpobench", "tpobench": {"kl_reference": kl}},
        },
    }  # fmt: skip


def _yaml(tree: Mapping[str, Any], indent: str = "") -> str:
    """Leaves are JSON, which is YAML."""
    return "".join(
        f"{indent}{key}:\n{_yaml(value, indent + '  ')}" if isinstance(value, dict) else
        f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in tree.items()
    )  # fmt: skip


def _why_not(recipe: Recipe) -> str:
    task = recipe.task
    for spec in recipe.specs:
        algorithm = ALGORITHMS.get(spec.algorithm)
        published = {} if algorithm is None else {k: v for k, v in algorithm.hyperparameters.items() if v is not None}
        if spec.algorithm not in BUILT_IN or spec.hyper != published:
            return (
                f"algorithm '{spec.algorithm}' is none of the catalogue at its published hyperparameters; "
                "docs/engines.md says how verl gets others"
            )
    return (
        f"training.epochs is {recipe.training['epochs']}, and the exact route makes one update of a batch"
        * (int(recipe.training["epochs"]) > 1)
        or f"model '{task.model}' is no folder and no name of the hub; --set task.model=..."
        * (task.model in {*MODELS, RANDOM})
        or f"problems '{task.problems}' begin the answers or end them at tokens of their own, which verl cannot be told"
        * (recipe.begun or bool(recipe.stop))
    )


VERL = Engine(
    name="verl",
    version="0.9.1",
    stack=("verl[vllm]==0.9.1", "TransferQueue==0.1.11"),
    offers=VERL_OFFERS - {"ref_logp"},  # which verl computes for its own KL alone
    edited="`run.sh`: GPUs, and how much each of them takes at once.",
    files=_files,
    why_not=_why_not,
    batch={
        "reward": "critic/score/mean", "entropy": "actor/entropy", "length": "response_length/mean",
        "clipped": "response_length/clip_ratio", "gradient_norm": "actor/grad_norm",
    },
    evaluation={
        "error": "val-core/{problems}/acc/mean@{samples}", "held_out_score": "val-aux/{problems}/score/mean@{samples}",
    },
    loss="actor/pg_loss",
    seconds="timing_s/step",
    seed_scheme="verl: order of prompts by seed",
)  # fmt: skip
