"""The names of all algorithms by family, in the order of tables, lists and legends; without torch, for who only reads.

The catalogue holds what each of them is, and nothing else lists them.
"""

from __future__ import annotations

FAMILIES = {
    "target": ("tpo", "tpo_token", "tpo_no_anchor", "group_pg", "tpo_length_norm", "lpo_fwd", "lpo_rev"),
    "grpo": (
        "grpo", "grpo_token", "grpo_batch", "grpo_no_kl", "grpo_masked", "grpo_token_ratio", "grpo_trl", "grpo_verl",
        "grpo_deepseek", "dr_grpo", "dapo", "lite_ppo", "rloo_clipped", "gdpo",
        "mt_grpo",
    ),
    "ratio": (
        "gspo", "luspo", "gmpo", "cispo", "cispo_scalerl", "sapo", "vespo", "dppo_tv", "prime_rl", "topr",
        "clip_cov", "kl_cov",
    ),
    "ppo": ("ppo", "ppo_gae", "openrlhf", "trpo", "reinforce_pp", "reinforce_pp_baseline"),
    "dg": ("dg", "dg_multi_epoch", "dg_group"),
    "reinforce": (
        "reinforce", "rloo", "remax", "opo", "maxrl", "grpo_passk", "raft", "reinforce_rej", "nsr", "w_reinforce",
    ),
    "regression": ("mdpo", "rebel", "gvpo", "pmd_mean", "dro"),
    "weighted": ("awr", "mpo", "vmpo", "reps", "pmpo"),
    "preference": ("dpo_online", "ipo_online", "kto_online"),
    "oracle": ("ce",),
}  # fmt: skip
NAMES = tuple(name for members in FAMILIES.values() for name in members)
OF = {name: family for family, members in FAMILIES.items() for name in members}


def base(name: str) -> str:
    """The algorithm that modifiers are put on: `tpo` of `tpo+icepop`."""
    return name.partition("+")[0]


def family_of(name: str) -> str:
    """The family of an algorithm, also of a modified one; `own` of a user's."""
    return OF.get(base(name), "own")
