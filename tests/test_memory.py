"""Memory of a job that trains a pretrained model: estimated where its files are, and told before it starts."""

import json
import re

import pytest
from typer.testing import CliRunner

from tpobench.cli import app
from tpobench.errors import UsageError
from tpobench.execution.due import bytes_of, require_room, too_large
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import LanguageSettings, TinyMathSettings
from tpobench.tasks.model_memory import LIBRARIES, PROMPT

CONFIG = {
    "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 100,
}  # fmt: skip
SHAPES = {"__metadata__": {"format": "pt"}, "a": {"shape": [100, 4]}, "b": {"shape": [7]}}
SETTINGS = {"prompts": 3, "candidates": 2, "new_tokens": 5, "rank": 2, "precision": "bfloat16"}


@pytest.fixture
def model(tmp_path):
    """A folder with a configuration, and the head of a file of weights."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    head = json.dumps(SHAPES).encode()
    (tmp_path / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 10)
    return tmp_path


def test_the_estimate_is_that_of_its_parts(model):
    """Weights of 2 bytes, keys and values, a graph of completions and prompts, four copies of factors and of logits."""
    weights = 2 * 407
    kept = 2 * 2 * 2 * (3 * 2) * (PROMPT + 5)
    activations = 2 * (16 * 4 + 5 * 8) * (3 * 2 * 5 + 3 * PROMPT)
    factors = 4 * 4 * 2 * (9 * 4 + 3 * 8 + 2 * 2)
    logits = 4 * 4 * 100 * (3 * 2 * 5)
    settings = LanguageSettings(model=str(model), **SETTINGS)
    assert settings.job_bytes(1) == LIBRARIES + weights + 2 * (kept + activations + factors) + logits
    assert settings.job_bytes(2) == settings.job_bytes(1) + 2 * (activations + factors) + logits


def test_nothing_is_guessed_of_a_model_that_is_not_here(model, tmp_path):
    """Nor of one whose configuration has other words, or whose weights are damaged."""
    for name in (str(tmp_path / "none"), "owner/name", "random"):
        assert LanguageSettings(model=name).job_bytes(1) is None
    (model / "model.safetensors").write_bytes(b"\xff" * 20)
    assert LanguageSettings(model=str(model)).job_bytes(1) is None
    (model / "config.json").write_text('{"n_embd": 4}', encoding="utf-8")
    assert LanguageSettings(model=str(model)).job_bytes(1) is None
    assert TinyMathSettings().job_bytes(1) is None


def test_a_job_that_does_not_fit_is_refused_in_one_line(model):
    """What it needs, what it may use, and what would work."""
    plan = plan_runs(load_suite("smol_add", [f"task.model={model}"]), ["tpo"], [0])
    jobs = plan.jobs()
    needed = bytes_of(jobs)
    assert needed == load_suite("smol_add", [f"task.model={model}"]).cells[0].task.job_bytes(1)
    assert too_large(jobs, needed) == ""
    require_room(jobs, needed)
    refused = r"a job needs about 60\d MiB of memory and may use 60\d MiB here; take fewer --jobs, lower task\.prompts"
    with pytest.raises(UsageError, match=refused):
        require_room(jobs, needed - 1)
    assert bytes_of(plan_runs(load_suite("tiny_math"), ["tpo"], [0]).jobs()) == 0


def test_a_run_without_room_does_not_start_and_its_plan_says_so(model, tmp_path):
    """Its limit of memory can be set by who knows better."""
    pytest.importorskip("transformers")
    (model / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 10**6}), encoding="utf-8")
    chosen = ["--set", f"task.model={model}", "--set", "task.candidates=4000"]
    arguments = ["--suite", "smol_add", "--algos", "tpo", "--seeds", "1", "--out", str(tmp_path), *chosen]
    planned, run = (CliRunner().invoke(app, [verb, *arguments]) for verb in ("plan", "run"))
    assert planned.exit_code == 0
    assert "take fewer --jobs" in " ".join(planned.output.split())
    assert isinstance(run.exception, UsageError)
    assert re.match(r"a job needs about 28\d\d\.\d GiB of memory and may use", str(run.exception))
