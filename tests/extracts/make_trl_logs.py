"""Make trl_logs.json: what TRL's trainer logged of the recipe of recipe_helpers.py.

    python -m tpobench recipe trl ... --out recipe      (the words of recipe_helpers.words(), its OPTIONS as trl.toml)
    python -m tpobench.recipes.trl_run recipe           (where the extra `trl` is installed)
    python tests/extracts/make_trl_logs.py recipe

Of the 30 numbers of a line those stay that are read, and their neighbours of the same kind; digits beyond 6 go.
"""

import json
import sys
from pathlib import Path

KEPT = (
    "loss", "grad_norm", "reward", "right", "entropy", "completions/mean_length", "completions/clipped_ratio",
    "largest_p_old", "effective_size", "frac_reward_zero_std", "num_tokens", "eval_reward", "eval_right", "eval_loss",
    "train_runtime", "train_loss", "epoch",
)  # fmt: skip
MADE = ("tpobench", "torch", "trl", "device", "processes", "seed_scheme", "started_utc")


def line_of(line):
    """A line with fewer numbers."""
    data = {k: float(f"{v:.6g}") for k, v in line["data"].items() if k in KEPT}
    made = {"made": {k: line["made"][k] for k in MADE}} if "made" in line else {}
    return {"step": line["step"], "data": data, **made}


def main():
    """Of every run its lines."""
    recipe = Path(sys.argv[1])
    logs = {
        str(log.parent.relative_to(recipe)): [line_of(json.loads(line)) for line in log.read_text().splitlines()]
        for log in sorted(recipe.glob("runs/*/*/log.jsonl"))
    }
    text = ",\n".join(
        f'"{run}": [\n' + ",\n".join(json.dumps(line) for line in lines) + "\n]" for run, lines in logs.items()
    )
    Path(__file__).with_name("trl_logs.json").write_text(f"{{\n{text}\n}}\n")
    print(f"{len(logs)} runs")


if __name__ == "__main__":
    main()
