"""A suite of language models as the files of a folder, which another engine runs.

README.md              what is here, and the commands
run.sh                 one run, or all
runs/tpo/seed_0/       of every run its settings (tpobench.json), and beside them, later, what the engine logs
train.jsonl            problems to train on
held_out.jsonl         problems to evaluate on
requirements.txt
trl.toml | verl.yaml   how the engine goes about it
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tpobench import __version__
from tpobench.algorithms.catalog import require_algorithm
from tpobench.data.files import MODELS, prefer
from tpobench.data.models import EXTRA, missing_packages
from tpobench.engines.answers import why_not
from tpobench.errors import DataUnavailable, UsageError, unknown
from tpobench.planning.datasets import locate, needs_of, packages_of
from tpobench.planning.plan import RunSpec, plan_runs
from tpobench.recipes.grading import row
from tpobench.recipes.model import Engine, Recipe
from tpobench.recipes.trl import TRL
from tpobench.recipes.verl import VERL
from tpobench.scores.text import seed_ranges
from tpobench.suites.load import load_suite, packaged_suites
from tpobench.suites.model import Suite
from tpobench.tasks.catalog import LanguageSettings
from tpobench.tasks.problems import Problem

ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in (TRL, VERL)}
SCHEMA = 1
SIDECAR = "tpobench.json"
TRAIN, HELD_OUT = "train.jsonl", "held_out.jsonl"
REASONING_GYM = "reasoning-gym>=0.1.25,<0.2"
ANYWHERE = "any"  # the device of a run that an engine places
OPTIMIZERS = ("adam", "adamw")
# What engines are told of a suite; a setting that is not here would be lost on the way.
TOLD = {
    "training": {
        "steps", "epochs", "record_every", "evaluate_every", "optimizer", "learning_rate", "diagnostics",
        "kl_reference", "weight_decay", "max_grad_norm",
    },
    "task": {
        "kind", "model", "model_sha256", "problems", "data_sha256", "largest", "prompts", "candidates", "new_tokens",
        "rank", "alpha", "precision", "held_out", "samples", "grader", "cut_counts", "template", "system", "thinking",
        "micro_batch", "stop",
    },
}  # fmt: skip
README = """\
# {title}

Runs of the suite `{suite}` by {engine} {version}: {algorithms}; seeds {seeds}. Written by `tpobench recipe`.

```bash
pip install -r requirements.txt
sh run.sh                  # every run that is not finished
sh run.sh {first}    # one of them
tpobench import .          # what is logged by then, as records in results/{name}
tpobench report results/{name}
```

On a cluster a run is a job: `sh run.sh "$(ls -d runs/*/* | sed -n "$((SLURM_ARRAY_TASK_ID + 1))p")"`.

- `runs/ALGORITHM/seed_N/tpobench.json`: the settings of a run. Its log comes beside it; `import` reads both.
- `{train}`, `{held_out}`: {trained} problems to train on, {evaluated} to evaluate on.
- What is trained is the suite's: to change it write the recipe anew, with `--set training.learning_rate=1e-6`, say.
- {edited}
"""


def recipe_of(
    suite: Suite,
    engine: str,
    algorithms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data_dir: Path | None = None,
) -> Recipe:
    """The runs of a suite by an engine.

    Raises:
        UsageError: no such engine, or it cannot train this suite, or one of the algorithms.
        DataUnavailable: the problems are not here, or no published copy of them.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    _require_one_language(suite)
    by = ENGINES[engine]
    plan = plan_runs(dataclasses.replace(suite, name=f"{suite.name}-{engine}"), algorithms, seeds)
    specs = tuple(dataclasses.replace(spec, device=ANYWHERE, engine=engine) for spec in plan.specs)
    recipe = Recipe(by, plan.suite, specs)
    _require_problems(suite, data_dir)
    skipped = (f"algorithm '{each.algorithm}' {each.reason}" for each in plan.skipped)
    reasons = (*skipped, *(_why_not(spec, by) for spec in specs), by.why_not(recipe) if specs else "")
    for reason in filter(None, reasons):
        msg = f"{engine}, suite '{suite.name}': {reason}"
        raise UsageError(msg)
    return recipe


def _require_one_language(suite: Suite) -> None:
    """A suite of a pretrained model, with one cell.

    Raises:
        UsageError: another.
    """
    kind = LanguageSettings.kind
    if suite.task["kind"] != kind:
        names = [name for name in packaged_suites() if load_suite(name).task["kind"] == kind]
        msg = (
            f"suite '{suite.name}' trains no pretrained language model, and engines train nothing else (task.kind is "
            f"{suite.task['kind']}); suites that do: {', '.join(names)}"
        )
        raise UsageError(msg)
    if len(suite.cells) > 1:
        axes = ", ".join(f"grid.{axis}" for axis, values in suite.grid.items() if len(values) > 1)
        msg = f"suite '{suite.name}' has {len(suite.cells)} cells; leave one value of {axes} (--set), a recipe for each"
        raise UsageError(msg)


def _require_problems(suite: Suite, data_dir: Path | None) -> None:
    """What is asked is here, and is from now on read there; the model need not be.

    Raises:
        DataUnavailable: it is not.
    """
    if missing := [name for name in missing_packages(packages_of(suite.task)) if name == "reasoning_gym"]:
        msg = f"the problems of {suite.name} are made with {', '.join(missing)}, not installed; {EXTRA}"
        raise DataUnavailable(msg)
    for data, _ in needs_of(suite.task).values():
        if data not in MODELS:
            prefer(locate(data, suites=(suite.name,), data_dir=data_dir).paths)


def _why_not(spec: RunSpec, engine: Engine) -> str:
    """Why an engine cannot train a run, or ''."""
    algorithm = require_algorithm(spec.algorithm, engine.name)
    if reason := why_not(algorithm, engine.offers, int(spec.training["epochs"])):
        return f"algorithm '{spec.algorithm}' {reason}"
    if spec.origins:
        return f"algorithm '{spec.algorithm}' comes with a plugin, which the engine does not load"
    for table, told in TOLD.items():
        settings: Mapping[str, Any] = getattr(spec, table)
        for key in sorted(settings.keys() - told):
            return f"{table}.{key}={settings[key]} is not known to engines; leave it out"
    optimizer = spec.training["optimizer"]
    return "" if optimizer in OPTIMIZERS else f"training.optimizer is {optimizer}; engines have {', '.join(OPTIMIZERS)}"


def run_folder(spec: RunSpec) -> str:
    """Where a run lies in the folder of its recipe."""
    return f"runs/{spec.algorithm}/seed_{spec.seed}"


def recipe_files(recipe: Recipe) -> dict[str, bytes]:
    """Names below a folder, with slashes, and contents."""
    engine, task = recipe.engine, recipe.task
    held_out = list(recipe.problems.held_out[: task.held_out])
    texts = {
        **{f"{run_folder(spec)}/{SIDECAR}": _sidecar(recipe, spec) for spec in recipe.specs},
        TRAIN: _lines(recipe, recipe.problems.trained),
        HELD_OUT: _lines(recipe, held_out),
        "requirements.txt": "".join(f"{each}\n" for each in _requirements(engine, task)),
        **engine.files(recipe),
    }
    readme = README.format(
        title=recipe.suite.title, suite=recipe.suite.name.removesuffix(f"-{engine.name}"), name=recipe.suite.name,
        engine=engine.name, version=engine.version, algorithms=", ".join(recipe.algorithms),
        seeds=seed_ranges({spec.seed for spec in recipe.specs}), first=run_folder(recipe.specs[0]), train=TRAIN,
        held_out=HELD_OUT, trained=len(recipe.problems.trained), evaluated=len(held_out), edited=engine.edited,
    )  # fmt: skip
    return {name: text.encode() for name, text in {"README.md": readme, **texts}.items()}


def _lines(recipe: Recipe, problems: Iterable[Problem]) -> str:
    rows = (row(problem, recipe.task, begun=recipe.begun) for problem in problems)
    return "".join(f"{json.dumps(each)}\n" for each in rows)  # in ASCII, where nothing else ends a line


def _requirements(engine: Engine, task: LanguageSettings) -> tuple[str, ...]:
    return (f"tpobench=={__version__}", *engine.stack, *([REASONING_GYM] if task.partial else ()))


def _sidecar(recipe: Recipe, spec: RunSpec) -> str:
    """Everything of a run but what it will measure."""
    document = {
        "schema": SCHEMA, "id": spec.run_id, "spec": spec.as_dict(), "reporting": recipe.suite.reporting,
        "suite": recipe.suite.as_dict(), "stop": recipe.stop,
    }  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
