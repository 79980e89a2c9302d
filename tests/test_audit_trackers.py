"""What Weights & Biases and TensorBoard download is read as it comes, or refused in one line."""

import pytest

from tpobench.audit import Choices, audit
from tpobench.errors import UsageError

FOUR = [("a2c", "all", 0, 1.5), ("a2c", "all", 1, 2.5), ("ppo", "all", 0, 3.0), ("ppo", "all", 1, 4.0)]


@pytest.fixture
def read(tmp_path):
    """Writes files and reads them with the names below it, or some of them, as arguments."""

    def make(content, *arguments, **choices):
        for name, text in content.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return audit([tmp_path / a for a in arguments or content], Choices(**choices))

    return make


def values(found):
    return sorted((r.algorithm, r.task, r.record.spec["seed"], r.value) for r in found.runs.runs)


def refusal(read, *arguments, **choices):
    with pytest.raises(UsageError) as caught:
        read(*arguments, **choices)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def scalar(*values, first=10):
    """A scalar of TensorBoard: a row per step, with the time of a clock."""
    return "Wall time,Step,Value\n" + "".join(
        f"1667412{i}.3186,{first * i},{v}\n" for i, v in enumerate(values, 1)
    )  # fmt: skip


TENSORBOARD = {f"run-{a}_seed_{s}-tag-rollout_ep_rew_mean.csv": scalar(0.5, v) for a, _, s, v in FOUR}


def test_scalars_of_tensorboard_are_a_run_per_file(read):
    """The run and the tag are those of the file's name; the tag says which way is better."""
    found = read(TENSORBOARD)
    assert values(found) == FOUR
    assert (found.runs.scale.metric, found.runs.scale.lower) == ("rollout_ep_rew_mean", False)
    assert any(text.startswith("algorithm from the names of runs, such as 'a2c'") for text in found.sheet.sources)


def test_scalars_of_tensorboard_as_json_are_the_same(read):
    """[[wall time, step, value], ...]."""
    files = {n.replace(".csv", ".json"): t for n, t in TENSORBOARD.items()}
    rows = {n: "[" + ", ".join(f"[{line}]" for line in t.splitlines()[1:]) + "]" for n, t in files.items()}
    assert values(read(rows)) == FOUR


def test_several_tags_ask_which(read):
    """The line lists them; the others are left out."""
    both = {**TENSORBOARD, **{n.replace("rollout_ep_rew_mean", "train_loss"): scalar(7) for n in TENSORBOARD}}
    assert refusal(read, both).endswith("choose one with --metric: rollout_ep_rew_mean, train_loss")
    assert values(read(both, metric="rollout_ep_rew_mean")) == FOUR
    assert "unknown metric 'train_lss'" in refusal(read, both, metric="train_lss")


def test_runs_of_tensorboard_in_folders_are_named_by_them_too(read):
    """A download per folder, as people sort them."""
    files = {f"x/{a}/walker/run-seed_{s}-tag-reward.csv": scalar(v) for a, _, s, v in FOUR}
    assert values(read(files, "x")) == [(a, "walker", s, v) for a, _, s, v in FOUR]


CHART = (
    '"Step","ppo_seed_0 - eval/return","ppo_seed_0 - eval/return__MIN","ppo_seed_0 - eval/return__MAX",'
    '"ppo_seed_1 - eval/return","ppo_seed_1 - eval/return__MIN","ppo_seed_1 - eval/return__MAX",'
    '"a2c_seed_0 - eval/return","a2c_seed_0 - eval/return__MIN","a2c_seed_0 - eval/return__MAX",'
    '"a2c_seed_1 - eval/return","a2c_seed_1 - eval/return__MIN","a2c_seed_1 - eval/return__MAX"\n'
    '"0","0.5","0.5","0.5","0.5","0.5","0.5","0.5","0.5","0.5","0.5","0.5","0.5"\n'
    '"10","3","2.9","3.1","4","4","4","","","","2.5","2.5","2.5"\n'
    '"12","","","","","","","1.5","1.5","1.5","","",""\n'
)


def test_a_chart_of_wandb_is_a_run_per_line(read):
    """Its bounds of buckets are left out, and so are steps at which a run has no value."""
    found = read({"wandb_export_2026-11-02T12_31_05.123+01_00.csv": CHART})
    assert values(found) == FOUR
    assert found.runs.scale.metric == "eval/return"
    steps = {(r.algorithm, r.record.spec["seed"]): r.record.curve["step"] for r in found.runs.runs}
    assert (steps["a2c", 0], steps["a2c", 1]) == ([0.0, 12.0], [0.0, 10.0])


def test_a_chart_of_groups_has_no_seeds(read):
    """It holds means: refused, with what to do."""
    line = refusal(read, {"x.csv": CHART.replace("ppo_seed_0 - ", "algorithm: ppo - ")})
    assert line.endswith("nothing can be tested without seeds; turn grouping off and export it again")


def test_names_of_runs_that_say_no_seed_are_refused(read):
    """wandb's own names, such as smart-sweep-a."""
    line = refusal(read, {"x.csv": CHART.replace("ppo_seed_0", "smart-sweep-a")})
    assert "no column gives the seed" in line


def table(header, *rows):
    """The table of runs, as the page of a project exports it."""
    names = '"Name","State","Notes","User","Tags","Created","Runtime","Sweep",'
    about = '"-","ann","","2026-11-02T11:31:05.000Z","63",""'
    return names + header + "\n" + "".join(f'"{name}","{state}",{about},{rest}\n' for name, state, rest in rows)


def test_the_runs_of_wandb_are_a_row_each(read):
    """Their names are those of the configuration."""
    rows = [(f"smart-sweep-{i}", "finished", f"{v},{a},all,{s}") for i, (a, _, s, v) in enumerate(FOUR)]
    assert values(read({"x.csv": table("eval/return,algo,env_id,seed", *rows)}, metric="eval/return")) == FOUR


def test_the_runs_of_wandb_are_told_apart_by_their_names(read):
    """Where the configuration has no algorithm and no seed."""
    found = read({"x.csv": table("return", *((f"{a}/all/{s}", "finished", v) for a, _, s, v in FOUR))})
    assert values(found) == FOUR
    line = refusal(read, {"x.csv": table("return", ("smart-sweep-a", "finished", 1), ("b-1", "finished", 2))})
    assert "no column gives the seed" in line


@pytest.mark.parametrize("state", ["crashed", "failed", "killed", "running"])
def test_a_run_of_wandb_that_did_not_finish_has_no_result(read, state):
    """What it had when it ended is not what it would have reached; lint says that it is lost."""
    rows = [(f"r{i}", state if i == 3 else "finished", f"{v},{a},all,{s}") for i, (a, _, s, v) in enumerate(FOUR)]
    found = read({"x.csv": table("return,algorithm,env,seed", *rows)})
    assert values(found) == [*FOUR[:3], ("ppo", "all", 1, None)]
    assert "L003" in {f.code.code for f in found.checks.findings}


def test_histories_of_wandb_have_steps(read):
    """One file per run, as `run.history()` is written; rows in which the metric was not logged are no measurements."""
    files = {f"{a}/seed_{s}.csv": f",_step,_runtime,_timestamp,loss,return\n0,0,1,2,3,0\n1,5,2,3,,{v}\n2,6,3,4,1,\n"
             for a, _, s, v in FOUR}  # fmt: skip
    assert values(read(files, metric="return")) == FOUR
