"""What is known of each kind of task stands in its settings, and what is not known is refused, never guessed."""

import dataclasses
from typing import ClassVar

import pytest
from harness_helpers import document
from record_helpers import record, write_jsonl

from tpobench.check import candidate_of, gate_cells, read_baseline
from tpobench.errors import UsageError
from tpobench.planning.plan import interactions_of, plan_runs
from tpobench.suites.load import build_suite
from tpobench.tasks.catalog import task_settings
from tpobench.tasks.settings import TaskSettings

PER_STEP = {  # at the default settings, counted by hand
    "bandit": (100, None), "contexts": (100, None), "sequence": (800, 800), "tokens": (100, 100),
    "sampled": (800, None), "mnist": (100, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", PER_STEP)
def test_every_kind_says_what_it_draws_and_what_its_error_counts(kind):
    """100 draws, contexts, prompts or images a step, 8 candidates each; a transformer's error is a share of them."""
    settings = task_settings({"kind": kind})
    assert (settings.interactions_per_step, settings.scored_rollouts) == PER_STEP[kind]
    assert settings.bytes_per_seed > 0


def test_a_kind_without_a_fact_cannot_be_made():
    """A new kind that does not say what one update draws has no count of 0: it cannot be constructed."""

    @dataclasses.dataclass(frozen=True)
    class Coin(TaskSettings):
        kind: ClassVar[str] = "coin"
        bytes_per_seed: ClassVar[int] = 1

    with pytest.raises(TypeError, match="interactions_per_step"):
        Coin()


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"kind": "coin"}, "unknown task.kind 'coin' in the run; valid: bandit"),
        ({}, "unknown task.kind 'None' in the run; valid: bandit"),
        ({"kind": "bandit", "armz": 3}, "unknown key 'task.armz' in the run; did you mean 'task.arms'"),
        ({"kind": "bandit", "arms": 1}, "the run: task.arms must be at least 2"),
        ({"kind": "bandit", "arms": "x"}, "the run: task."),
    ],
)
def test_unknown_settings_are_one_line(task, said):
    """What, where, what would be valid."""
    with pytest.raises(UsageError) as caught:
        task_settings(task)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_counts_no_interactions_of_an_unknown_kind():
    """A refusal, not a column of zeros."""
    (spec,) = plan_runs(
        build_suite("tiny", document(algorithms=["tpo"], task={"kind": "bandit"}), "x"), None, [0]
    ).specs
    assert interactions_of(spec) == 100 * spec.training["steps"]
    with pytest.raises(UsageError, match="'coin'"):
        interactions_of(dataclasses.replace(spec, task={"kind": "coin"}))


def test_check_takes_no_error_of_an_unknown_kind_as_exact(tmp_path):
    """The margin of a cell needs the resolution of its error, so the check says that it does not know it."""
    base = read_baseline(
        write_jsonl(tmp_path / "coin.jsonl", *(record(s, changes={"task": {"kind": "coin"}}) for s in (0, 1)))
    )
    with pytest.raises(UsageError, match=r"unknown task\.kind 'coin' in results of 'tiny'"):
        gate_cells(base, candidate_of(base, ()))
