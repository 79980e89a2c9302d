"""`watch`: a run in progress, from records made by hand."""

import json
from dataclasses import replace

import pytest
from record_helpers import altered, snapshot, write

from tpobench.cli import watch
from tpobench.planning.choice import parse_choice
from tpobench.planning.plan import plan_runs
from tpobench.records.store import RunRecord, Store, pack
from tpobench.suites.load import load_suite
from tpobench.watch.reader import Reader
from tpobench.watch.state import choose, state_of

SUITE = replace(
    load_suite("bandit", ["training.steps=1000", "training.seed_batch=1", "seeds=3"]), algorithms=("tpo", "grpo")
)
SPECS = {(s.algorithm, s.seed): s for s in plan_runs(SUITE).specs}


def run(algorithm, seed, errors=(0.75, 0.5), status="ok", wall_s=10.0, **fields):
    """The record of a planned run, with this curve."""
    spec, points = SPECS[algorithm, seed], list(range(len(errors)))
    curve = {"step": points, "interactions": points, "gradient_steps": points, "error": list(errors)}
    return RunRecord(
        spec.run_id,
        spec.as_dict(),
        status,
        curve=curve if status in {"ok", "diverged"} else {},
        reporting=SUITE.reporting,
        cost={"wall_s": wall_s, "cpu_s": wall_s},
        **fields,
    )


EVERY = [run(a, s) for a, s in SPECS]


def state(*records, ended=(), seeds=None, algorithms=None, suite=SUITE):
    """What records say; the i-th ended at `ended[i]`."""
    design = choose(parse_choice(seeds), suite, algorithms, records)
    times = {r.id: at for r, at in zip(records, ended, strict=False)}
    return state_of(design, {r.id: r for r in records}, times)


def arms(state):
    """By algorithm."""
    return {arm.algorithm: arm for arm in state.arms}


def folder(path, *records):
    """A run directory of the suite."""
    return write(path / "runs-of-a-suite", *records, suite=SUITE.as_dict())


def test_seeds_done_the_value_and_the_mean_curve_of_an_arm():
    """Two of three seeds with curves (0.8, 0.4) and (0.6, 0.2), one failed."""
    a = state(run("tpo", 0, (0.8, 0.4)), run("tpo", 1, (0.6, 0.2)), run("tpo", 2, status="failed", reason="no"))
    tpo, grpo = arms(a)["tpo"], arms(a)["grpo"]
    assert (tpo.planned, tpo.done, tpo.failed, tpo.value) == (3, 2, 1, pytest.approx(0.3))
    assert tpo.curve == pytest.approx((0.7, 0.3))
    assert (grpo.planned, grpo.done, grpo.failed, grpo.value, grpo.curve) == (3, 0, 0, None, ())
    assert (a.planned, a.done, [r.reason for r in a.broken], a.complete) == (6, 2, ["no"], False)


def test_a_diverged_run_is_a_result_and_counts_as_the_worst():
    """Error 1 after divergence, in the value and in the curve."""
    a = state(run("tpo", 0, (0.8, 0.4)), run("tpo", 1, (0.6,), "diverged", first_nonfinite_step=1))
    assert (a.diverged, arms(a)["tpo"].done, arms(a)["tpo"].value) == (1, 2, pytest.approx(0.7))
    assert arms(a)["tpo"].curve == pytest.approx((0.7, 0.7))


def test_all_have_ended_when_each_planned_run_has_a_record():
    """A failed run too: the next `run` tries it again, this one does not."""
    assert not state(*EVERY[:-1]).complete
    assert state(*EVERY).complete
    assert state(*EVERY[:-1], run("grpo", 2, status="crashed", reason="x")).complete


def test_the_time_left_is_the_work_left_over_the_work_per_second():
    """Two runs of 10 s in 10 s, so two processes; the four others take 40 s of one, 20 s of two."""
    a = state(run("tpo", 0), run("grpo", 0), ended=(1000.0, 1000.0))
    assert a.left_s(1000.0) == pytest.approx(20.0)
    assert a.left_s(1010.0) == pytest.approx(40.0)  # nothing came for as long again
    assert a.left_s(1301.0) is None  # nor in the last five minutes
    assert a.left_s(900.0) == pytest.approx(20.0)  # the clock of the folder is ahead


def test_what_the_suite_expects_is_scaled_by_what_runs_took():
    """tpo expected at 2 s took 10 s, so grpo, expected at 4 s, takes 20 s: 2 x 10 + 3 x 20 on one process."""
    suite = replace(SUITE, cost={"ms_per_step": {"tpo": 2.0, "grpo": 4.0}})
    assert state(run("tpo", 0), ended=(1000.0,), suite=suite).left_s(1000.0) == pytest.approx(80.0)
    unknown = state(run("tpo", 0), ended=(1000.0,), suite=replace(SUITE, cost={}))
    assert unknown.left_s(1000.0) == pytest.approx(50.0)
    assert state(suite=replace(SUITE, cost={})).left_s(1000.0) is None


def test_what_is_planned_can_be_named_as_for_run():
    """Else the suite's seeds and algorithms, and all that ran."""
    assert state(*EVERY, seeds="2", algorithms=["tpo"]).planned == 2
    assert state(*EVERY, seeds="2", algorithms=["tpo"]).others == 4
    more = RunRecord("0" * 16, {**EVERY[0].spec, "seed": 7, "algorithm": "ppo"}, "failed")
    assert (state(more).planned, state(more).others) == (3 * 4, 0)


def test_looks_and_searches_come_round_by_round():
    """The first of four looks at five seeds of two algorithms, then at most three more."""
    first = state(seeds="adaptive:5x4")
    assert (first.planned, first.more, first.complete) == (2 * 5, 2 * 15, False)
    search = load_suite("breaking_point", smoke=True)
    begun = state(suite=replace(search, algorithms=("tpo",)))
    assert (begun.planned > 0, begun.planned % search.seeds, begun.more > 0) == (True, 0, True)


def test_a_folder_of_any_packaged_suite_can_be_watched(tmp_path, command_line):
    """What meta.json says of a search, of grids over hyperparameters and of other tasks is understood."""
    for name in ("breaking_point", "breaking_point_sequence", "sparse", "variations", "stale", "tasks", "ci"):
        suite = load_suite(name, smoke=True)
        path = write(tmp_path / name, suite=suite.as_dict())
        facts = json.loads(command_line("watch", path, "--json")[1])
        assert (facts["done"], facts["planned"] > 0, facts["complete"]) == (0, True, False)


def test_a_folder_of_a_suite_that_is_a_file_can_be_watched_without_it(tmp_path, command_line):
    """The suite is in meta.json; nobody needs its name, here or on another machine."""
    path = write(tmp_path / "own", suite={**SUITE.as_dict(), "name": "a_suite_of_my_own"})
    code, out, err = command_line("watch", path)
    assert (code, err, out.splitlines()[0]) == (0, "", f"{path}: 0/6 runs done, time left unknown")


def test_a_run_is_known_on_whatever_device_it_was_trained():
    """Its id names the device; its cell, algorithm and seed do not."""
    record = replace(EVERY[0], id="f" * 16, spec={**EVERY[0].spec, "device": "cuda"})
    assert (state(record).done, state(record).others) == (1, 0)


def test_only_new_records_are_read(tmp_path, monkeypatch):
    """Between two readings one came, one was replaced, one was put aside: two files are read."""
    path = folder(tmp_path, EVERY[0], EVERY[1], run("tpo", 2, status="failed", reason="once"))
    reader = Reader(Store(path))
    assert (reader.refresh(), len(reader.known)) == (True, 3)
    read = []
    monkeypatch.setattr("tpobench.watch.reader.read_record", lambda p: read.append(p.stem) or original(p))
    assert (reader.refresh(), read) == (False, [])
    write(path, run("tpo", 2), run("grpo", 2))
    assert reader.refresh()
    Store(path).path_of(EVERY[1].id).unlink()
    assert (reader.refresh(), reader.refresh()) == (True, False)
    assert sorted(read) == sorted([SPECS["tpo", 2].run_id, SPECS["grpo", 2].run_id])
    assert {i: r.status for i, r in reader.known.items()} == {
        EVERY[0].id: "ok", SPECS["tpo", 2].run_id: "ok", SPECS["grpo", 2].run_id: "ok",
    }  # fmt: skip


def original(path):
    """`read_record`, as it is elsewhere."""
    from tpobench.records.store import read_record

    return read_record(path)


def test_the_packed_copy_counts_too(tmp_path):
    """As for `run`; a result there stands before a failure in the folder."""
    path = folder(tmp_path, *EVERY)
    pack(path)
    Store(path).path_of(EVERY[0].id).unlink()
    write(path, run("grpo", 2, status="failed", reason="later"))
    reader = Reader(Store(path))
    reader.refresh()
    assert {i: r.status for i, r in reader.known.items()} == {r.id: "ok" for r in EVERY}
    assert EVERY[0].id not in reader.ended


def test_what_a_long_job_said_last_is_shown_until_its_runs_have_ended(tmp_path, command_line):
    """Update, reward and tokens a second, and how long ago; a file that is none of ours says nothing."""
    path = folder(tmp_path, run("tpo", 0))
    claims, spec = path / "claims", SPECS["tpo", 1]
    claims.mkdir(exist_ok=True)
    said = {"algorithm": "tpo", "cell": {}, "matching": "any", "seeds": {SPECS["tpo", 0].run_id: 0, spec.run_id: 1},
            "updates": 1000, "update": 120, "reward": 0.412, "tokens_per_s": 240.4}  # fmt: skip
    (claims / "a.heard").write_text(json.dumps(said), encoding="utf-8")
    for name, text in (("b.heard", "{"), ("c.heard", "[]"), ("d.heard", '{"seeds": 3}')):
        (claims / name).write_text(text, encoding="utf-8")
    code, out, _ = command_line("watch", path)
    lines = [line.split() for line in out.splitlines()]
    place = lines.index(["in", "progress", "cell", "seeds", "update", "reward", "tokens", "a", "second", "heard"])
    assert lines[place + 1][:8] == ["tpo", "-", "1", "120", "of", "1000", "0.41", "240"]
    assert lines[place + 1][-1] == "ago"
    (job,) = json.loads(command_line("watch", path, "--json")[1])["in_progress"]
    assert (code, job["seeds"], job["update"], job["reward"]) == (0, [1], 120, 0.412)
    write(path, run("tpo", 1), suite=SUITE.as_dict())
    assert "in progress" not in command_line("watch", path)[1]


def test_a_pipe_gets_one_state_and_nothing_is_written(tmp_path, command_line):
    """Totals, each reason once however many runs share it, then the table; a broken record costs itself only."""
    broken = [run(a, 2, status="failed", reason="no luck") for a in ("tpo", "grpo")]
    path = folder(tmp_path, EVERY[0], EVERY[2], *broken)
    torn = Store(path).path_of("ab" + "0" * 14)
    torn.parent.mkdir(exist_ok=True)
    torn.write_text(altered(EVERY[1], status="odd"))
    before = snapshot(path)
    code, out, err = command_line("watch", path)
    assert (code, err, snapshot(path)) == (0, "", before)
    lines = out.splitlines()
    assert lines[0].startswith(f"{path}: 2/6 runs done, 2 failed, about ")
    assert lines[0].endswith(" ago")
    assert sum("no luck" in line for line in lines) == 1
    assert any(line.endswith("seed 2 and 1 more: no luck") for line in lines)
    assert any(line.startswith(f"damaged: {torn}: status is 'odd'") for line in lines)
    assert [line.split() for line in lines[-3:]] == [
        ["algorithm", "error", "(%)"], ["grpo", "0/3", "1", "failed"], ["tpo", "2/3", "1", "failed", "50", "█▁"],
    ]  # fmt: skip
    facts = json.loads(command_line("watch", path, "--json")[1])
    assert (facts["done"], facts["planned"], len(facts["failed"]), len(facts["damaged"])) == (2, 6, 2, 1)


@pytest.mark.parametrize(("term", "states"), [("xterm", 2), ("dumb", 1)])
def test_a_terminal_is_drawn_until_all_have_ended(tmp_path, command_line, monkeypatch, term, states):
    """The rest comes while it waits; a dumb terminal gets lines, and the whole state at the end alone."""
    path = folder(tmp_path, *EVERY[:4])
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    pauses = iter([(), (), EVERY])
    monkeypatch.setattr(watch.time, "sleep", lambda _: write(path, *next(pauses)))
    code, out, err = command_line("watch", path)
    assert (code, err) == (0, "")
    assert out.count("4/6 runs done") == (3 if term == "xterm" else 1)
    assert "6/6 runs done, all have ended" in out
    assert out.count("its mean curve") >= states
    assert ("\x1b[" in out) == (term == "xterm")
    assert "█" in out


def test_control_c_ends_it_quietly(tmp_path, command_line, monkeypatch):
    """With the code of what was stopped so, and no word."""
    path = folder(tmp_path, EVERY[0])

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(watch.time, "sleep", stop)
    code, out, err = command_line("watch", path)
    assert (code, err) == (130, "")
    assert "Traceback" not in out


def test_what_is_no_run_directory_is_refused(tmp_path, command_line):
    """In one line: nothing there yet, a folder of several, a file, a folder without its plan, an odd pause."""
    path = folder(tmp_path, EVERY[0])
    (tmp_path / "file").write_text("")
    refused = {
        (tmp_path / "none",): (4, "no runs in"),
        (tmp_path,): (2, f"watch one of them: {path}"),
        (tmp_path / "file",): (2, "is a file"),
        (path, "--every", "soon"): (2, "--every soon: write a duration"),
    }
    for words, (code, text) in refused.items():
        ended, out, err = command_line("watch", *words)
        assert (ended, out, text in err, err.count("\n")) == (code, "", True, 1)
    (path / "meta.json").unlink()
    assert "meta.json is missing" in command_line("watch", path)[2]


@pytest.mark.parametrize("columns", [80, 160])
def test_a_screen_is_wide_enough(columns):
    """Cells down, algorithms across; where there are more algorithms than cells the other way round."""
    from tpobench.tables.terminal import Screen, terminal

    wide = load_suite("sparse", smoke=True)
    for suite in (wide, replace(SUITE, algorithms=("tpo", "grpo", "ppo", "dg"))):
        table = watch._table(state(suite=suite))
        assert len(table.rows) == max(len(suite.cells), len(suite.algorithms)) or len(suite.cells) >= len(
            suite.algorithms
        )
        text = terminal(watch.Document("", (table,), {}, ()), Screen(columns))
        assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize(
    ("curve", "blocks"),
    [((), ""), ((0.0, 0.5, 1.0), "▁▅█"), (tuple(range(16)), "▁▂▃▄▅▆▇█"), ((1.0, 1.0), "▁▁")],
)
def test_a_curve_in_a_few_characters(curve, blocks, monkeypatch):
    """Eight parts from the lowest value to the highest; 0.5 of 7 steps is the fourth, rounded to even."""
    monkeypatch.setattr(watch, "_writable", lambda _: True)
    assert watch.sparkline(curve, min(curve, default=0), max(curve, default=0)) == blocks
