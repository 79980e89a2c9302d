"""What language models are asked: GSM8K and Reasoning Gym as problems with grades, and suites that train on them."""

import json

import pytest
from data_helpers import publish, put

from tpobench.execution.engine import execute
from tpobench.execution.inline import Inline
from tpobench.planning.plan import plan_runs
from tpobench.records.store import Store
from tpobench.suites.load import load_suite
from tpobench.tasks.problems import problems_of

REASONING = ["graph_coloring", "knights_knaves"]
SOLUTIONS = {
    "Ann has 3 boxes of 400 pens and gets 34. How many pens has she?": "3*400=<<3*400=1200>>1200\n+34=1234\n#### 1,234",
    "It is 2 degrees and gets 7 colder. How cold is it?": "2-7=<<2-7=-5>>-5\n#### -5",
}


@pytest.fixture
def gsm8k(tmp_path, monkeypatch):
    """Two problems in the published format, which stand for the published files, in both splits."""
    lines = "".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in SOLUTIONS.items()).encode()
    files = {f"gsm8k/{split}.jsonl": lines for split in ("train", "test")}
    for name in files:
        put(tmp_path / "data" / name, lines)
    publish(monkeypatch, files)
    monkeypatch.setenv("TPOBENCH_DATA_DIR", str(tmp_path / "data"))
    problems_of.cache_clear()
    yield problems_of("gsm8k", 0)
    problems_of.cache_clear()


def test_gsm8k_is_asked_as_verl_asks_it_and_graded_by_its_golds(gsm8k):
    """The number after the mark is the gold, commas and signs are read by the grader; the split is that of the file."""
    pens, cold = gsm8k.trained
    assert list(gsm8k.held_out) == [pens, cold]
    assert pens.question.endswith('Let\'s think step by step and output the final answer after "####".')
    assert (pens.begun, pens.answer, cold.answer) == ("", "1,234", "-5")
    texts = ["3*400=1200\n#### 1234", "#### $1,234.00", "#### 12", "1234", ""]
    assert [gsm8k.grade(text, pens, "strict") for text in texts] == [1, 1, 0, 0, 0]
    assert [gsm8k.grade(text, pens, "flexible") for text in texts] == [1, 1, 0, 1, 0]
    assert gsm8k.grade("#### −5", cold, "strict") == 1


def test_a_colouring_is_graded_by_its_edges():
    """A valid one 1, JSON that is none .01, text that is no JSON 0: partial grades are Reasoning Gym's own."""
    pytest.importorskip("reasoning_gym")
    problems = problems_of("graph_coloring", 0)
    assert (len(problems.trained), len(problems.held_out)) == (10_000, 500)
    problem = problems.held_out[0]
    puzzle = problem.answer["metadata"]["puzzle"]
    right = json.dumps({str(v): c for v, c in problem.answer["metadata"]["possible_answer"].items()})
    one = json.dumps({str(v): 1 for v in puzzle["vertices"]})
    assert puzzle["edges"]
    assert [problems.grade(t, problem, "") for t in (right, f" {right}\n", one, "{}", "no", "")] == [
        1,
        1,
        0.01,
        0.01,
        0,
        0,
    ]
    assert problems.trained[0].question != problem.question
    assert str(puzzle["edges"]) in problem.question


def test_roles_are_graded_by_those_that_are_right():
    """Both right 1, one of two .3 + .7 / 2, none and what names no roles 0."""
    pytest.importorskip("reasoning_gym")
    problems = problems_of("knights_knaves", 0)
    problem = problems.held_out[0]
    about = problem.answer["metadata"]
    words = [about["knight_knave_terms"][k] for k in ("a_knave", "a_knight")]

    def said(*knights):
        return ", and ".join(f"{n} is {words[k]}" for n, k in zip(about["names"], knights, strict=True)) + "."

    a, b = about["solution"]
    answers = [said(a, b), said(not a, b), said(not a, not b), "", "both"]
    assert [problems.grade(t, problem, "") for t in answers] == pytest.approx([1, 0.65, 0, 0, 0])


@pytest.mark.parametrize("name", ["gsm8k", *REASONING])
def test_the_suites_at_the_paper_s_settings(name):
    """Section 3.8 and appendix G: K = 16, 16 problems, AdamW at 1e-5, LoRA of rank 32, KL 1e-3, evaluated every 5."""
    suite = load_suite(name)
    spec = plan_runs(suite, ["tpo"], [0]).specs[0]
    assert (spec.task["model"], spec.task["candidates"], spec.task["prompts"]) == ("Qwen/Qwen3-1.7B", 16, 16)
    assert (spec.task["rank"], spec.task["precision"], spec.dtype) == (32, "bfloat16", "float32")
    training = {"optimizer": "adamw", "learning_rate": 1e-5, "kl_reference": 1e-3, "evaluate_every": 5, "epochs": 1}
    assert {k: spec.training[k] for k in training} == training
    assert {"tpo", "tpo_length_norm", "grpo", "grpo_trl"} <= set(suite.algorithms)


@pytest.mark.parametrize("name", ["gsm8k", *REASONING])
def test_the_suites_train_a_model_of_random_weights(name, tmp_path, gsm8k):  # noqa: ARG001 - its data are here
    """Two updates of the small version from end to end; grades between 0 and 1 have their mean beside the error."""
    pytest.importorskip("transformers")
    if name in REASONING:
        pytest.importorskip("reasoning_gym")
    plan = plan_runs(load_suite(name, smoke=True), ["tpo"])
    assert execute(plan, tmp_path / "r", executor=Inline()).counts == {"ok": 1}
    [record] = Store(tmp_path / "r").load()[0]
    assert ("held_out_score" in record.curve) == (name in REASONING)
    assert record.curve["error"][0] == record.curve["error"][-1] == 1
