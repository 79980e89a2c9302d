"""A recipe by TRL from its command to a comparison, where TRL is installed: the extra `trl`."""

import json

import pytest

pytest.importorskip("trl")
pytest.importorskip("peft")

from recipe_helpers import OPTIONS, words

from tpobench.policies.pretrained import module_of, pretrained
from tpobench.recipes import trl_run
from tpobench.recipes.grading import chat_template, row
from tpobench.records.results import load_results
from tpobench.tasks.catalog import task_settings
from tpobench.tasks.problems import problems_of
from tpobench.training.loop import make_task

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


@pytest.fixture
def recipe(command_line, tmp_path):
    """The folder of a recipe that a CPU trains in seconds."""
    assert command_line(*words("--out", "recipe"))[0] == 0
    (tmp_path / "recipe" / "trl.toml").write_text(OPTIONS, encoding="utf-8")
    return tmp_path / "recipe"


def test_a_recipe_is_trained_imported_reported_and_compared(recipe, command_line):
    """Two algorithms at two seeds; runs of a seed begin alike, and one that has ended is not trained again."""
    assert trl_run.main([str(recipe)]) == 0
    assert command_line("import", "recipe")[0] == 0
    records = {(r.spec["algorithm"], r.spec["seed"]): r for r in load_results("results").records}
    assert {record.status for record in records.values()} == {"ok"}
    for seed in (0, 1):
        first = [{k: v[0] for k, v in records[name, seed].curve.items()} for name in ("tpo", "grpo")]
        alike = ("reward", "entropy", "length", "clipped", "informative", "largest_p_old", "error")
        assert {k: first[0][k] for k in alike} == {k: first[1][k] for k in alike}
    later = [records[name, 0].curve["entropy"][1:3] for name in ("tpo", "grpo")]
    assert later[0] != later[1]
    assert command_line("report", "results", "--format", "terminal")[0] == 0
    assert command_line("compare", "tpo", "grpo", "--in", "results")[0] == 0
    before = {log: log.read_bytes() for log in recipe.rglob("log.jsonl")}
    assert trl_run.main([str(recipe)]) == 0
    assert {log: log.read_bytes() for log in recipe.rglob("log.jsonl")} == before


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(recipe, command_line):
    """From its last checkpoint: the record is that of a run that was never stopped."""
    runs = [trl_run.runs_in(recipe / "runs" / "tpo" / "seed_0")[0] for _ in range(2)]
    trl_run.train(runs[0])
    whole = (runs[0].folder / "log.jsonl").read_text(encoding="utf-8")
    checkpoints = sorted((runs[0].folder / "checkpoints").glob("checkpoint-*"))
    assert [c.name for c in checkpoints] == ["checkpoint-3"]
    assert command_line("import", "recipe")[0] == 0
    (record,) = load_results("results").records
    for each in sorted(runs[0].folder.rglob("*"), reverse=True):
        if each.name != "tpobench.json":
            each.unlink() if each.is_file() else each.rmdir()

    with pytest.MonkeyPatch.context() as patch:
        written = trl_run.Log.on_log

        def until_two(self, args, state, control, logs=None, **more):
            written(self, args, state, control, logs, **more)
            if state.global_step == 3 and "loss" in logs:
                raise KeyboardInterrupt

        patch.setattr(trl_run.Log, "on_log", until_two)
        with pytest.raises(KeyboardInterrupt):
            trl_run.train(runs[1])
    trl_run.train(runs[1])
    assert (runs[1].folder / "log.jsonl").read_text(encoding="utf-8").count('"made"') == 2 > whole.count('"made"')
    code, _, err = command_line("import", "recipe")  # refuses another result of the same run
    assert (code, "0 of them new" in err) == (0, True)
    assert load_results("results").records[0].payload == record.payload


def test_the_problems_of_an_update_are_those_of_the_built_in_loop(recipe):
    """At every step of a seed, in their order."""
    (run,) = trl_run.runs_in(recipe / "runs" / "tpo" / "seed_1")
    rows = trl_run._read(recipe / "train.jsonl")
    here = make_task("smol_add", run.spec["task"], (1,), dtype="float32", device="cpu")
    policy = here.make_policy()
    problems = [p.question for step in range(3) for p in here.rollout(policy, step).inputs.problems[0]]
    assert [each["prompt"][-1]["content"] for each in trl_run.asked(run, rows)] == problems


@pytest.mark.parametrize("template", ["", "<user>{question}\n</user>"])
def test_a_prompt_has_the_tokens_that_it_has_here(recipe, template):
    """Question, template and the answer's beginning."""
    spec = json.loads((recipe / "runs" / "tpo" / "seed_0" / "tpobench.json").read_text(encoding="utf-8"))["spec"]
    task = task_settings({**spec["task"], "template": template})
    problem = problems_of(task.problems, task.largest).trained[0]
    _, tokenizer = module_of("random", trl_run.torch.float32)
    tokenizer.chat_template = chat_template(task, tokenizer.chat_template, begun=True)
    messages = row(problem, task, begun=True)["prompt"]
    tokens = tokenizer.apply_chat_template([messages], add_generation_prompt=True, tokenize=True, return_dict=True)
    weights = pretrained("random", trl_run.torch.float32, "cpu")
    here = weights.encode(problem.question, problem.begun, template, "", thinking=False)
    assert tokens["input_ids"][0] == here


def test_problems_are_read_line_by_line_whatever_they_hold(recipe):
    """A line separator of Unicode, as GSM8K has, ends no line."""
    (recipe / "train.jsonl").write_text('{"a": "b\u2028c"}\n{"a": 2}\n', encoding="utf-8")
    assert trl_run._read(recipe / "train.jsonl") == [{"a": "b\u2028c"}, {"a": 2}]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("learning_rate = 1.0", "trl.toml: learning_rate is the suite's, 0.1; leave it out"),
        ("per_device_train_batch_size = 48", "128 answers of an update cannot be dealt to 1 processes, 48 at once"),
        ("use_cpu = ", "trl.toml: "),
    ],
)
def test_options_that_would_change_the_run_are_refused(recipe, capsys, options, line):
    """In a line, before anything is loaded."""
    (recipe / "trl.toml").write_text(options, encoding="utf-8")
    assert trl_run.main([str(recipe / "runs" / "tpo" / "seed_0")]) == 2
    assert line in capsys.readouterr().err
