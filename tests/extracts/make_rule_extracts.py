"""Cut the reference's truth data down to what the rule and bandit tests read.

Usage: python tests/extracts/make_rule_extracts.py REFERENCE_FOLDER

REFERENCE_FOLDER holds losses.npz, tabular_single.npz, tabular_multi.npz, algorithm_vectors.json and
beta_closed_forms.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FUNCTIONS = {
    "reinforce_loss", "dg_loss", "ppo_loss", "grpo_loss", "tpo_skill", "tpo_target", "tpo_target_no_anchor",
    "anchored_tpo_cross_entropy_loss", "group_pg_cross_entropy_loss", "batch_standardized_pg_loss", "trial_tpo",
    "trial_tpo_no_anchor", "trial_group_pg", "trial_grpo", "trial_grpo_masked", "trial_reinforce", "trial_dg",
    "trial_ppo",
}  # fmt: skip
KEPT_OUTPUTS = {"loss", "q", "skill"}
LARGEST = 200  # numbers in one array of a case
INPUTS = ("logp", "old_logp", "ref_logp", "rollout_logp", "mask", "rewards", "rewards_multi", "greedy_reward")
BETAS = ("ce", "pg", "dg", "grpo", "group_pg", "tpo")
SEEDS = 3


def losses(source: Path) -> None:
    """All arrays of the kept cases end to end, and where each lies."""
    data = np.load(source / "losses.npz")
    flat: list[np.ndarray] = []
    cases, offset = [], 0
    for case in json.loads(str(data["manifest"]))["cases"]:
        if case["func"] not in FUNCTIONS or case["kwargs"].get("surprisal_clip") is not None:
            continue
        names = [f"in/{n}" for n in case["inputs"]]
        names += [
            f"out/{n}" for n in case["outputs"] if n in KEPT_OUTPUTS and not (n == "q" and "loss" in case["outputs"])
        ]
        names += [f"grad/{n}" for n in case["grads"]]
        arrays = {n: np.asarray(data[f"{case['id']}/{n}"], dtype=np.float64) for n in names}
        if max(a.size for a in arrays.values()) > LARGEST:
            continue
        places = {}
        for name, array in arrays.items():
            places[name] = [offset, list(array.shape)]
            flat.append(array.ravel())
            offset += array.size
        cases.append({"id": case["id"], "kwargs": case["kwargs"], "arrays": places})
    index = np.frombuffer(json.dumps(cases, separators=(",", ":")).encode(), dtype=np.uint8)
    np.savez_compressed(HERE / "rule_cases.npz", data=np.concatenate(flat), index=index)
    print(len(cases), "loss cases")


def formulas(source: Path) -> None:
    """Vectors of the catalogue's rules and closed forms of beta(p)."""
    vectors = json.loads((source / "algorithm_vectors.json").read_text())
    betas = json.loads((source / "beta_closed_forms.json").read_text())["population"]
    kept = {
        "inputs": {name: {k: v for k, v in case.items() if k in INPUTS} for name, case in vectors["inputs"].items()},
        "rules": {
            rule: {name: {k: case[k] for k in ("loss", "grad")} for name, case in entry["vectors"].items()}
            for rule, entry in vectors["rules"].items()
        },
        "trust_region": vectors["trpo_mdpo_tabular"],
        "task_weights": vectors["mt_grpo_iwu"],
        "beta": {rule: [[row["p"], row["closed"]] for row in betas[rule]] for rule in BETAS},
    }
    (HERE / "rule_formulas.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


def bandits(source: Path) -> None:
    """Curves of the first seeds: every step of the single bandit, every tenth of the contexts."""
    single, multi = np.load(source / "tabular_single.npz"), np.load(source / "tabular_multi.npz")
    kept = {"logits_init": multi["logits_init"][:SEEDS]}
    for rule in ("pg", "dg", "tpo", "grpo"):
        kept[f"single/{rule}/actions"] = single[f"{rule}_actions"][:SEEDS]
    for metric in ("error", "misalign"):
        for rule in ("pg", "dg", "tpo", "grpo"):
            kept[f"single/{rule}/{metric}"] = single[f"{rule}_{metric}_f64"][:SEEDS]
        for rule in ("pg", "dg", "tpo", "grpo", "ce"):
            kept[f"contexts/{rule}/{metric}"] = multi[f"{rule}_{metric}_f64"][:SEEDS, 9::10]
    np.savez_compressed(HERE / "bandit_curves.npz", **kept)


if __name__ == "__main__":
    losses(Path(sys.argv[1]))
    formulas(Path(sys.argv[1]))
    bandits(Path(sys.argv[1]))
