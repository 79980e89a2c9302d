"""One run of a recipe by TRL's trainer, in the folder that holds its settings.

    accelerate launch -m tpobench.recipes.trl_run runs/tpo/seed_0

It goes on from its last checkpoint, and one that has ended is left as it is.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig

from tpobench.algorithms.catalog import require_algorithm
from tpobench.engines.trl import NAME, GroupTrainer
from tpobench.errors import TpobenchError, UsageError
from tpobench.execution.provenance import machine
from tpobench.limits import load_toml, read_settings, toml_fault
from tpobench.policies.pretrained import available, module_of
from tpobench.recipes.grading import chat_template, grade
from tpobench.recipes.logs import Run, record_of, runs_in
from tpobench.recipes.model import UNCLIPPED
from tpobench.recipes.recipe import HELD_OUT, TRAIN
from tpobench.recipes.trl import LOG, OPTIONS, TRL
from tpobench.records.store import FINISHED
from tpobench.tasks.catalog import LanguageSettings, task_settings
from tpobench.tasks.language import RIGHT
from tpobench.training.loop import make_task

PACKAGES = ("trl", "transformers", "peft", "accelerate")


class Log(TrainerCallback):
    """Writes what the trainer logs as lines that `tpobench import` reads, with null for what is not finite."""

    def __init__(self, path: Path, evaluated: int) -> None:
        self.path, self.evaluated = path, evaluated

    def _write(self, state: Any, **fields: Any) -> None:
        if state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **fields}) + "\n")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Where and with what."""
        del control
        gpu = {"gpu": torch.cuda.get_device_name()} if args.device.type == "cuda" else {}
        self._write(
            state, data={},
            made={
                **machine(), **{name: version(name) for name in PACKAGES}, **gpu, "device": args.device.type,
                "processes": args.world_size, "evaluated": self.evaluated,
                "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "seed_scheme": f"{TRL.seed_scheme}, ranks: {args.world_size}" + ", vLLM" * args.use_vllm,
            },
        )  # fmt: skip

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """A line."""
        del args, control
        numbers = {k: v for k, v in (logs or {}).items() if v is None or isinstance(v, int | float)}
        self._write(state, data={k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()})


def train(run: Run) -> None:
    """Train it to its end.

    Raises:
        UsageError: the options hold what the suite decides, or answers cannot be dealt to the processes.
        DataUnavailable: the model cannot be had.
    """
    recipe = run.folder.parents[2]
    spec, task = run.spec, task_settings(run.spec["task"])
    assert isinstance(task, LanguageSettings)  # noqa: S101 - recipes are of no other kind
    rows, held_out = (_read(recipe / name) for name in (TRAIN, HELD_OUT))
    options = _options(recipe / OPTIONS)
    processes = PartialState(cpu=bool(options.get("use_cpu"))).num_processes
    evaluated, shares = _shares(task, len(held_out), options, processes)
    args = GRPOConfig(**_decided(run, task, options), **{**options, **shares})
    set_seed(args.seed)  # for the factors' start
    algorithm = require_algorithm(str(spec["algorithm"]), NAME).with_hyper(**spec["hyper"])
    begun = "begun" in rows[0]["prompt"][-1]
    with available(task.model):
        dtype = torch.bfloat16 if task.precision == "bfloat16" else getattr(torch, str(spec["dtype"]))
        model, tokenizer = module_of(task.model, dtype)
    tokenizer.chat_template = chat_template(task, tokenizer.chat_template or "", begun=begun) or tokenizer.chat_template
    ends = _ends(model, tokenizer, run.document["stop"])
    model.generation_config.eos_token_id = ends
    trainer = GroupTrainer(
        model, graded(task, ends), args, Dataset.from_list(asked(run, rows)),
        eval_dataset=Dataset.from_list(held_out[:evaluated]),
        processing_class=tokenizer, callbacks=[Log(run.folder / LOG, evaluated)], algorithm=algorithm,
        kl=float(spec["training"].get("kl_reference", 0.0)),
        peft_config=LoraConfig(r=task.rank, lora_alpha=task.alpha, target_modules="all-linear"),
    )  # fmt: skip
    checkpoint = None if algorithm.modifiers else get_last_checkpoint(args.output_dir)  # their memory is not saved
    if checkpoint is None and trainer.accelerator.is_main_process:
        (run.folder / LOG).unlink(missing_ok=True)
    trainer.train(resume_from_checkpoint=checkpoint)


def asked(run: Run, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The problems of one update after the other, those that the built-in loop asks at the same seed."""
    spec = run.spec
    suite, steps = str(spec["suite"]).removesuffix(f"-{NAME}"), int(spec["training"]["steps"])
    noise = make_task(suite, spec["task"], (int(spec["seed"]),), dtype=str(spec["dtype"]), device="cpu").noise
    batches = (noise.integers("prompt", step, len(rows), (spec["task"]["prompts"],))[0] for step in range(steps))
    return [rows[i] for batch in batches for i in batch.tolist()]


def graded(task: LanguageSettings, ends: Collection[int]) -> Callable[..., list[float]]:
    """The reward as TRL asks for it: what was cut is 0, unless the suite says otherwise."""

    def reward(
        completions: Sequence[Any], completion_ids: Sequence[Sequence[int]], reward_model: Sequence[Mapping[str, str]],
        log_metric: Callable[[str, float], None], **_: Any,
    ) -> list[float]:  # fmt: skip
        texts = [completion[0]["content"] for completion in completions]
        grades = [
            grade(task.problems, text, answer["ground_truth"], task.grader) * (task.cut_counts or tokens[-1] in ends)
            for text, tokens, answer in zip(texts, completion_ids, reward_model, strict=True)
        ]
        log_metric("right", sum(g >= RIGHT for g in grades) / len(grades))
        return grades

    return reward


def _decided(run: Run, task: LanguageSettings, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of GRPOConfig that the suite decides.

    Raises:
        UsageError: the options name one of them.
    """
    training, epochs = run.spec["training"], int(run.spec["training"]["epochs"])
    between = epochs * int(training.get("evaluate_every", training["record_every"]))
    fields = {
        "output_dir": str(run.folder / "checkpoints"), "seed": int(run.spec["seed"]),
        "max_steps": epochs * int(training["steps"]), "num_iterations": epochs, "num_generations": task.candidates,
        "num_generations_eval": task.samples, "max_completion_length": task.new_tokens, "temperature": 1.0,
        "top_p": 1.0, "top_k": 0, "chat_template_kwargs": {"enable_thinking": task.thinking},
        "learning_rate": training["learning_rate"], "lr_scheduler_type": "constant",
        "weight_decay": training.get("weight_decay", 0.0), "max_grad_norm": training.get("max_grad_norm", UNCLIPPED),
        "beta": 0.0, "disable_dropout": True, "bf16": task.precision == "bfloat16",
        "shuffle_dataset": False, "logging_steps": 1, "logging_nan_inf_filter": False,
        "eval_strategy": "steps", "eval_steps": between, "eval_on_start": True,
        "save_strategy": "steps", "save_steps": between, "save_total_limit": 1,
    }  # fmt: skip
    for name in sorted(fields.keys() & options.keys()):
        msg = f"{OPTIONS}: {name} is the suite's, {fields[name]!r}; leave it out, or write the recipe anew"
        raise UsageError(msg)
    return fields


def _shares(
    task: LanguageSettings, held_out: int, options: Mapping[str, Any], processes: int
) -> tuple[int, dict[str, int]]:
    """How many held-out problems all processes share evenly, and what each of them takes at once.

    Raises:
        UsageError: the answers of an update cannot be dealt evenly.
    """
    answers, at_once = task.prompts * task.candidates, int(options.get("per_device_train_batch_size", 8))
    if answers % (at_once * processes):
        msg = (
            f"{OPTIONS}: {answers} answers of an update cannot be dealt to {processes} processes, {at_once} at once; "
            "change per_device_train_batch_size, or the number of GPUs"
        )
        raise UsageError(msg)
    mine = held_out // processes
    limit = max(int(options.get("per_device_eval_batch_size", 8)) // task.samples, 1)
    prompts = max((n for n in range(1, limit + 1) if mine and mine % n == 0), default=0)
    if not prompts:
        msg = f"{HELD_OUT}: {held_out} problems are too few for {processes} processes; use fewer"
        raise UsageError(msg)
    return mine * processes, {
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": answers // (at_once * processes),
        "per_device_eval_batch_size": prompts * task.samples,
    }


def _options(path: Path) -> dict[str, Any]:
    try:
        return load_toml(read_settings(path))
    except (OSError, ValueError) as error:
        msg = f"{path}: {toml_fault(error)}"
        raise UsageError(msg) from error


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}; `tpobench recipe` writes it anew"
        raise UsageError(msg) from error


def _ends(model: Any, tokenizer: Any, stop: str) -> list[int]:
    """The tokens that end a completion: the model's, and those whose text has what `stop` says."""
    ends = model.generation_config.eos_token_id
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))]) if stop else []
    more = [i for i, text in enumerate(texts) if re.search(stop, text)]
    return sorted({*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id, *more} - {None})


def say(text: str) -> None:
    """Say to standard error what people want to know."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command of its own


def main(words: Sequence[str]) -> int:
    """The command: exit code 0, or 2 after a line that says what is wrong."""
    try:
        if len(words) != 1:
            msg = "name one folder of a run: accelerate launch -m tpobench.recipes.trl_run runs/tpo/seed_0"
            raise UsageError(msg)
        for run in runs_in(Path(words[0])):
            record = record_of(run)
            if record is not None and record.status in FINISHED:
                say(f"{run.folder} has ended: {record.status}")
            else:
                train(run)
    except TpobenchError as error:
        say(f"tpobench: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
