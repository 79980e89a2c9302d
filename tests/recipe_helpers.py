"""A recipe that a CPU trains in seconds, and what TRL logged of it."""

import json
import os
import subprocess
from pathlib import Path

EXTRACT = Path(__file__).with_name("extracts") / "trl_logs.json"
SMALL = {
    "task.largest": 4, "task.prompts": 4, "task.candidates": 32, "task.new_tokens": 2, "task.precision": "training",
    "task.samples": 32, "task.held_out": 2, "task.cut_counts": "true", "task.template": '""',
    "training.learning_rate": 0.1, "training.steps": 3, "training.evaluate_every": 1,
}  # fmt: skip
WORDS = ("recipe", "trl", "--suite", "smol_add", "--algos", "tpo,grpo", "--seeds", "2", "--smoke")
OPTIONS = """\
use_cpu = true
per_device_train_batch_size = 64
per_device_eval_batch_size = 64
gradient_checkpointing = false
report_to = "none"
disable_tqdm = true
"""


def words(*more, engine="trl", **changed):
    """The command that writes it."""
    sets = [word for key, value in {**SMALL, **changed}.items() for word in ("--set", f"{key}={value}")]
    return (WORDS[0], engine, *WORDS[2:], *sets, *more)


def write_logs(recipe, logs=None):
    """Put the logs of its runs into the folder of a recipe: run -> lines."""
    for run, lines in (json.loads(EXTRACT.read_text(encoding="utf-8")) if logs is None else logs).items():
        (recipe / run / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


STUB = """#!/bin/sh
printf '%s\\n' "$0 $VERL_USE_EXTERNAL_MODULES" "$@" "" >> "$WRITTEN"
echo /site/trl
"""


def started(recipe, *runs, **environment):
    """What `sh run.sh` starts, with programs that only write it down: name, modules that verl is told of, words."""
    programs = recipe.parent / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("python", "accelerate"):
        (programs / name).write_text(STUB, encoding="utf-8")
        (programs / name).chmod(0o755)
    written = recipe.parent / "written.txt"
    written.unlink(missing_ok=True)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", recipe / "run.sh", *runs], check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, "PATH": path, "WRITTEN": str(written), **environment},
    )  # fmt: skip
    calls = [call.split("\n") for call in written.read_text(encoding="utf-8").strip().split("\n\n")]
    return [(Path(first.split(" ")[0]).name, first.split(" ")[1], words) for first, *words in calls]
