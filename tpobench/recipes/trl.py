"""TRL: its files, and how it names what it logs."""

from __future__ import annotations

from collections.abc import Mapping

from tpobench.engines.answers import TRL_OFFERS
from tpobench.recipes.model import Engine, Recipe

OPTIONS, LOG = "trl.toml", "log.jsonl"
RUN_SH = """\
#!/bin/sh
# sh run.sh: every run that is not finished, one after the other; sh run.sh runs/tpo/seed_0: one of them.
# CONFIG: multi_gpu, zero2, zero3, fsdp2 or another of TRL's, or a file of `accelerate config`.  GPUS: how many.
set -e
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- runs/*/*
config="${CONFIG:-multi_gpu}"
[ -f "$config" ] ||
  config="$(python -c 'import importlib.util as u; print(*u.find_spec("trl").submodule_search_locations)')"\\
"/accelerate_configs/$config.yaml"
for run do
  accelerate launch --config_file "$config" --num_processes "${GPUS:-$(nvidia-smi -L | wc -l)}" \\
    -m tpobench.recipes.trl_run "$run"
done
"""
OPTIONS_TOML = """\
# How TRL's trainer goes about it: any field of GRPOConfig but those that the suite decides.  What is trained stays the
# same: prompts and answers of an update are dealt to however many processes there are.
per_device_train_batch_size = 4  # answers; times the processes it must divide prompts x answers of an update
per_device_eval_batch_size = 32
gradient_checkpointing = true
report_to = "none"
# Generation by vLLM.  What is sampled then depends on vLLM too, so paired runs no longer begin with the same answers.
# use_vllm = true
# vllm_mode = "colocate"
# vllm_gpu_memory_utilization = 0.3
# vllm_importance_sampling_correction = false  # a modifier corrects, where you name one: tpo+tis
"""


def _files(recipe: Recipe) -> Mapping[str, str]:
    del recipe
    return {"run.sh": RUN_SH, OPTIONS: OPTIONS_TOML}


TRL = Engine(
    name="trl",
    version="1.16.0",
    stack=("trl==1.16.0", "transformers==5.24.0", "peft==0.21.2", "accelerate==1.15.0"),
    offers=TRL_OFFERS | {"ref_logp"},  # the model without its adapter
    edited="`trl.toml`: batches of a device, vLLM and whatever else of TRL's trainer does not change what is trained. "
    "`CONFIG=zero2 GPUS=4 sh run.sh`: DeepSpeed or FSDP (`zero3`, `fsdp2`), on so many GPUs.",
    files=_files,
    why_not=lambda _: "",
    batch={
        "reward": "reward", "entropy": "entropy", "length": "completions/mean_length",
        "clipped": "completions/clipped_ratio", "gradient_norm": "grad_norm", "largest_p_old": "largest_p_old",
        "effective_size": "effective_size", "informative": "frac_reward_zero_std",
    },
    evaluation={"error": "eval_right", "held_out_score": "eval_reward"},
    loss="loss",
    seconds="train_runtime",
    seed_scheme="trl: problems by seed, answers by seed, step and rank",
)  # fmt: skip
