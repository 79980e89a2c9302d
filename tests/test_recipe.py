"""`recipe` and `import`: what another engine runs, and its logs as records."""

import json
from pathlib import Path

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from recipe_helpers import EXTRACT, OPTIONS, started, words, write_logs

from tpobench.identity import spec_id
from tpobench.recipes.grading import chat_template, compute_score
from tpobench.records.results import load_results
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import task_settings

RUN = "runs/tpo/seed_1"
LOGS = json.loads(EXTRACT.read_text(encoding="utf-8"))


@pytest.fixture
def recipe(command_line, tmp_path):
    """The folder of a recipe by TRL, without logs."""
    assert command_line(*words("--out", "recipe"))[0] == 0
    return tmp_path / "recipe"


def brought(command_line, *more):
    """What `import` says, and the records by algorithm and seed."""
    code, out, err = command_line("import", "recipe", *more)
    assert code == 0, err
    records = load_results("results").records
    return out + err, {(r.spec["algorithm"], r.spec["seed"]): r for r in records}


def test_a_recipe_is_written_once_and_what_was_edited_stays(recipe, command_line):
    """Settings, problems and commands of every run; the same command changes nothing, another file is refused."""
    files = {str(p.relative_to(recipe)): p.read_bytes() for p in recipe.rglob("*") if p.is_file()}
    runs = {f"runs/{a}/seed_{s}/tpobench.json" for a in ("tpo", "grpo") for s in (0, 1)}
    others = {"README.md", "run.sh", "trl.toml", "train.jsonl", "held_out.jsonl", "requirements.txt"}
    assert files.keys() - {".tpobench-report.json"} == runs | others
    settings = json.loads(files[f"{RUN}/tpobench.json"])
    spec = settings["spec"]
    assert settings["stop"] == "[^ 0-9]"
    assert (spec["suite"], spec["engine"], spec["algorithm"], spec["seed"]) == ("smol_add-trl", "trl", "tpo", 1)
    assert json.loads(files["held_out.jsonl"].splitlines()[0])["prompt"][-1]["begun"].endswith(" =")
    assert command_line(*words("--out", "recipe"))[0] == 0
    assert {str(p.relative_to(recipe)): p.read_bytes() for p in recipe.rglob("*") if p.is_file()} == files
    (recipe / "trl.toml").write_text(OPTIONS, encoding="utf-8")
    code, _, err = command_line(*words("--out", "recipe"))
    assert code == 2
    assert "trl.toml: not written by a report, or changed since" in err
    assert (recipe / "trl.toml").read_text(encoding="utf-8") == OPTIONS


def test_a_command_of_the_recipe_starts_every_run_or_the_named_one(recipe):
    """On the GPUs and by the configuration of accelerate that are named: TRL's own, or a file."""
    calls = [words for name, _, words in started(recipe, GPUS="4") if name == "accelerate"]
    begin = ["launch", "--config_file", "/site/trl/accelerate_configs/multi_gpu.yaml", "--num_processes", "4", "-m"]
    runs = [f"runs/{name}/seed_{seed}" for name in ("grpo", "tpo") for seed in (0, 1)]
    assert calls == [[*begin, "tpobench.recipes.trl_run", run] for run in runs]
    (recipe / "mine.yaml").touch()
    ((_, _, words),) = started(recipe, RUN, GPUS="1", CONFIG="mine.yaml")
    assert words == [*begin[:2], "mine.yaml", "--num_processes", "1", "-m", "tpobench.recipes.trl_run", RUN]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["trl", "--suite", "bandit"], "suite 'bandit' trains no pretrained language model"),
        (["nemo", "--suite", "smol_add"], "unknown engine 'nemo'"),
        (["trl", "--suite", "smol_add", "--set", "task.candidates=4,8"], "has 2 cells; leave one value of grid.candi"),
        (["trl", "--suite", "smol_add", "--algos", "trpo"], "algorithm 'trpo' takes a step of its own"),
        (["trl", "--suite", "smol_add", "--algos", "remax"], "algorithm 'remax' needs greedy_reward"),
        (["trl", "--suite", "smol_add", "--set", "training.lag=2"], "training.lag=2 is not known to engines"),
        (["trl", "--suite", "smol_add", "--set", "training.optimizer=normalized"], "training.optimizer is normalized"),
        (["verl", "--suite", "smol_add", "--set", "task.model=./here"], "problems 'add' begin the answers"),
        (["verl", "--suite", "smol_add"], "model 'smollm2' is no folder"),
        (["verl", "--suite", "smol_add", "--algos", "tpo+tis"], "algorithm 'tpo+tis' is none of the catalogue at its"),
    ],
)
def test_what_an_engine_cannot_train_is_refused_in_a_line(command_line, tmp_path, given, line):
    """And nothing is written."""
    code, out, err = command_line("recipe", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert line in err
    assert list(tmp_path.iterdir()) == []


def test_what_is_settled_at_the_papers_settings_reaches_the_runs(command_line):
    """KL and decay are in the settings of a run; data that is not here is named before anything is written."""
    changed = {"training.optimizer": "adamw", "training.weight_decay": 0.01, "training.kl_reference": 0.001}
    assert command_line(*words("--out", "recipe", **changed))[0] == 0
    settings = json.loads(Path("recipe", RUN, "tpobench.json").read_text(encoding="utf-8"))["spec"]["training"]
    assert {f"training.{key}": settings[key] for key in ("optimizer", "weight_decay", "kl_reference")} == changed
    code, _, err = command_line("recipe", "trl", "--suite", "gsm8k", "--out", "other")
    assert (code, "gsm8k, which gsm8k reads, is not here" in err, Path("other").exists()) == (5, True, False)


def test_logs_come_back_as_records(recipe, command_line):
    """What TRL logs of update g stands at g - 1, an evaluation at g; a second import brings nothing new."""
    write_logs(recipe)
    said, records = brought(command_line)
    assert "4 runs, 4 of them new or changed" in said
    record, lines = records["tpo", 1], LOGS[RUN]
    data = [{k: v for line in lines if line["step"] == g for k, v in line["data"].items()} for g in range(4)]
    assert record.curve["step"] == [0, 1, 2, 3]
    assert record.curve["interactions"] == [0, 128, 256, 384]
    assert record.curve["reward"] == [data[1]["reward"], data[2]["reward"], data[3]["reward"], None]
    assert record.curve["gradient_norm"] == [data[1]["grad_norm"], data[2]["grad_norm"], data[3]["grad_norm"], None]
    assert record.curve["informative"][:3] == [1 - data[g]["frac_reward_zero_std"] for g in (1, 2, 3)]
    assert record.curve["error"] == [1 - data[g]["eval_right"] for g in range(4)]
    lengths = [data[g]["completions/mean_length"] for g in (1, 2, 3)]
    assert record.curve["tokens"] == pytest.approx([0, *(128 * sum(lengths[: n + 1]) for n in range(3))])
    assert (record.status, record.facts["initial_success"]) == ("ok", data[0]["eval_right"])
    assert (record.provenance["imported"], record.provenance["trl"]) == ("trl", "1.16.0")
    said, again = brought(command_line)
    assert "4 runs, 0 of them new or changed" in said
    assert {k: r.to_line() for k, r in again.items()} == {k: r.to_line() for k, r in records.items()}


def test_imported_records_are_read_as_any_others(recipe, command_line):
    """By report, compare, lint and status; `verify` says who trains them again."""
    write_logs(recipe)
    brought(command_line)
    code, out, _ = command_line("report", "results/smol_add-trl", "--format", "terminal")
    assert code == 0
    assert "tpobench 0.1.0|suite:smol_add-trl|metric:final1|seeds:0-1|" in out
    code, out, _ = command_line("compare", "tpo", "grpo", "--in", "results/smol_add-trl", "--json")
    (row,) = json.loads(out)["comparisons"]
    assert (code, row["b"]["seeds"]["1"]) == (0, 1 - LOGS["runs/grpo/seed_1"][-2]["data"]["eval_right"])
    findings = json.loads(command_line("lint", "results", "--json")[1])["findings"]
    assert [f["code"] for f in findings if f["severity"] == "error"] == []
    (counts,) = json.loads(command_line("status", "results", "--json")[1])["folders"]
    assert counts["ok"] == 4
    assert "trained by trl, which only its own command trains again" in "".join(command_line("verify", "results")[1:])


def test_a_run_that_has_not_ended_is_a_row_with_a_reason_until_it_has(recipe, command_line):
    """A log that breaks off, in the middle of a line too; runs without a log wait."""
    lines = LOGS[RUN]
    write_logs(recipe, {RUN: lines[:5]})
    with (recipe / RUN / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "data": {"lo')
    said, records = brought(command_line)
    assert "the log ends after update 2 of 3" in said
    assert "3 have not begun" in said
    assert records["tpo", 1].status == "failed"
    assert json.loads(command_line("status", "results", "--json")[1])["failed"][0]["seed"] == 1
    write_logs(recipe, {RUN: [line for line in lines if "eval_right" not in line["data"] or line["step"] < 3]})
    assert "the log has no evaluation after update 3" in brought(command_line)[0]
    write_logs(recipe, {RUN: lines})
    assert brought(command_line)[1]["tpo", 1].status == "ok"
    write_logs(recipe, {RUN: lines[:5]})  # the cluster has lost the rest of it: the result stays
    assert brought(command_line)[1]["tpo", 1].status == "ok"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "log.jsonl line 2 is no JSON"),
        ("[1]", "log.jsonl line 2 is no line of a log: it is [1]"),
        ('{"step": "one", "data": {}}', "log.jsonl line 2 is no line of a log: step is 'one'"),
        ('{"step": 1}', "log.jsonl line 2 is no line of a log: data is missing"),
    ],
)
def test_a_log_that_is_none_is_a_row_with_a_reason(recipe, command_line, line, reason):
    """Which line, and what is wrong with it."""
    text = "".join(f"{json.dumps(entry)}\n" for entry in LOGS[RUN])
    first, rest = text.split("\n", 1)
    (recipe / RUN / "log.jsonl").write_text(f"{first}\n{line}\n{rest}", encoding="utf-8")
    _, records = brought(command_line)
    assert records["tpo", 1].status == "failed"
    assert records["tpo", 1].reason.startswith(reason)


def test_a_loss_that_stays_without_a_value_is_a_run_that_diverged(recipe, command_line):
    """From there on, not where it recovers."""
    lost = [{**line, "data": {k: None if k == "loss" and line["step"] >= 2 else v for k, v in line["data"].items()}}
            for line in LOGS[RUN]]  # fmt: skip
    once = [{**line, "data": {k: None if k == "loss" and line["step"] == 2 else v for k, v in line["data"].items()}}
            for line in LOGS["runs/tpo/seed_0"]]  # fmt: skip
    write_logs(recipe, {RUN: lost, "runs/tpo/seed_0": once})
    _, records = brought(command_line)
    assert (records["tpo", 1].status, records["tpo", 1].first_nonfinite_step) == ("diverged", 1)
    assert records["tpo", 1].curve["step"] == [0, 1]
    assert records["tpo", 0].status == "ok"
    assert command_line("report", "results", "--format", "terminal")[0] == 0


def changed(document, **fields):
    return json.dumps({**document, **fields})


@pytest.mark.parametrize(
    ("settings", "code", "line"),
    [
        (lambda _: "{", 2, "tpobench.json cannot be read: "),
        (lambda d: changed(d, schema=99), 6, "has schema 99, this tpobench reads up to 1"),
        (lambda d: changed(d, spec=[]), 2, "holds no settings of a run: spec is []"),
        (lambda d: changed(d, reporting={}), 2, "holds no settings of a run: reporting.metric is missing"),
        (lambda d: changed(d, spec={**d["spec"], "seed": 7}), 6, "tpobench.json was changed: the id of its settings"),
        (
            lambda d: changed(d, spec=(spec := {**d["spec"], "engine": "nemo"}), id=spec_id(spec)),
            2, "unknown engine 'nemo'",
        ),
    ],
)  # fmt: skip
def test_settings_of_a_run_that_are_none_are_refused(recipe, command_line, settings, code, line):
    """In one line that names the file; nothing is written."""
    write_logs(recipe)
    path = recipe / RUN / "tpobench.json"
    path.write_text(settings(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    given, out, err = command_line("import", "recipe")
    assert (given, out, err.count("\n")) == (code, "", 1)
    assert line in err
    assert not (recipe.parent / "results").exists()


def test_where_there_is_nothing_to_import_the_line_says_what_there_should_be(recipe, command_line, tmp_path):
    """No recipe; a recipe that has not begun; a folder under another suite's settings."""
    (tmp_path / "empty").mkdir()
    code, _, err = command_line("import", "empty")
    assert (code, "empty holds no tpobench.json, so no run of a recipe" in err) == (2, True)
    code, _, err = command_line("import", "recipe")
    assert (code, "none of its 4 runs has logged anything" in err) == (4, True)
    write_logs(recipe)
    brought(command_line)
    assert command_line(*words("--out", "other", **{"training.learning_rate": 0.2}))[0] == 0
    write_logs(tmp_path / "other")
    code, _, err = command_line("import", "other")
    assert code == 2
    assert "holds runs with training.learning_rate = 0.1, these would have 0.2; keep them apart with --name" in err
    assert command_line("import", "other", "--name", "faster")[0] == 0
    assert len(load_results("results/faster").records) == 4


def test_another_result_of_a_run_that_is_there_is_refused(recipe, command_line):
    """It is named, and what is there stays."""
    write_logs(recipe)
    _, before = brought(command_line)
    other = [{**line, "data": {**line["data"], **({"reward": 0.5} if "reward" in line["data"] else {})}}
             for line in LOGS[RUN]]  # fmt: skip
    write_logs(recipe, {RUN: other})
    code, _, err = command_line("import", "recipe")
    assert (code, f"two different results of run {before['tpo', 1].id}" in err) == (6, True)
    assert load_results("results").records == tuple(before.values())


def test_runs_of_two_engines_are_never_taken_for_one_experiment(recipe, command_line):
    """Lint names an algorithm with both as L024, and two algorithms of two engines as L042."""
    write_logs(recipe)
    brought(command_line)
    (records,) = (load_results("results").records,)
    lines = []
    for record in records:
        spec = {k: v for k, v in record.spec.items() if k != "engine" or record.spec["algorithm"] == "tpo"}
        lines.append(json.dumps({**record.as_dict(), "spec": spec, "id": spec_id(spec)}))
    (recipe.parent / "mixed.jsonl").write_text("\n".join(lines), encoding="utf-8")
    findings = json.loads(command_line("lint", "mixed.jsonl", "--json")[1])["findings"]
    assert [f["what"] for f in findings if f["code"] == "L042"] == ["engine differs: tpo trl; grpo tpobench"]
    renamed = [line.replace('"algorithm": "grpo"', '"algorithm": "tpo"') for line in lines]
    own = [{**json.loads(line), "id": spec_id(json.loads(line)["spec"])} for line in renamed]
    (recipe.parent / "pooled.jsonl").write_text("\n".join(map(json.dumps, own)), encoding="utf-8")
    findings = json.loads(command_line("lint", "pooled.jsonl", "--json")[1])["findings"]
    assert "engine default and trl" in next(f["what"] for f in findings if f["code"] == "L024")


@pytest.mark.parametrize("template", ["", "<user>\n{question}</user>\n{question} \"é😀'\\n\n"])
def test_prompts_are_rendered_as_here(template):
    """In the suite's template or the model's own, with the answer begun: character by character what is asked here."""
    settings = {**load_suite("smol_add").task, "template": template, "system": "Be brief."}
    own = "{% for m in messages %}{{ m['content'] + '\\n' }}{% endfor %}\n"
    source = chat_template(task_settings(settings), own, begun=True)
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3?", "begun": "2 + 3 ="}]
    text = (
        ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source).render(messages=asked)
    )
    assert text == (template.replace("{question}", "2 + 3?") if template else "Be brief.\n2 + 3?\n") + "2 + 3 ="
    assert chat_template(task_settings({**settings, "template": ""}), own, begun=False) == ""


def test_verl_is_told_the_grade_and_whether_all_is_right():
    """By the suite's grader; of an answer that the model was to begin with a number, the first one."""
    asked = {"extra_info": {}, "ground_truth": '"42"'}
    assert compute_score("gsm8k", "so\n#### 42.00", grader="strict", **asked) == {"score": 1.0, "acc": 1.0}
    assert compute_score("gsm8k", "so\n#### 42.00", grader="verl-strict", **asked) == {"score": 0.0, "acc": 0.0}
    assert compute_score("add", " 42, or 43", grader="flexible", **asked) == {"score": 1.0, "acc": 1.0}
