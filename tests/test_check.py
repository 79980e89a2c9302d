"""The regression gate end to end: verdicts and exit codes."""

import json
import signal
from dataclasses import replace

import pytest
from check_helpers import bench_fixture  # noqa: F401 - a fixture
from record_helpers import REPORTING, record, write, write_jsonl

from tpobench.check.baseline import read_baseline
from tpobench.check.evidence import Runs, candidate_of, digits_of, gate_cells, measures_of, parse_margins, resolution
from tpobench.errors import UsageError
from tpobench.records.store import load_packed
from tpobench.stats.gate import MARGINS, Margin, decide
from tpobench.stats.gate_cells import TOLD

DAY = "until = 2999-01-01\nreason = 'known'\n"


def verdicts(out):
    """`rule measure` -> status, of the JSON answer."""
    return {f"{c['rule']} {c['measure']}": c["status"] for c in json.loads(out)["cells"]}


def judged(bench, *words):
    """Exit code and the JSON answer."""
    code, out, err = bench.check("--json", *words)
    assert out, err
    return code, json.loads(out)


# ---- verdicts


def test_unchanged_code_passes_without_statistics(bench):
    """Every cell is equal seed by seed, only the screen is trained, and not a second time."""
    bench.baseline()
    code, answer = judged(bench)
    assert code == 0
    assert {c["status"] for c in answer["cells"]} == {"unchanged"}
    assert answer["headline"] == "UNCHANGED: 4 cells compared: 4 unchanged"
    assert answer["candidate"]["made_now"] == 20
    assert sorted(bench.trained) == [("reinforce", tuple(range(10))), ("tpo", tuple(range(10)))]
    code, answer = judged(bench)
    assert (code, answer["candidate"]["made_now"]) == (0, 0)


def test_a_worse_rule_is_confirmed_on_its_reserve_seeds_only(bench):
    """Exit 1; the other rule's reserve is never trained."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    code, answer = judged(bench)
    assert code == 1
    found = {f"{c['rule']} {c['measure']}": c for c in answer["cells"]}
    final = found["tpo final2"]
    assert (final["status"], final["stage"], final["hypothesis"]) == ("regressed", "confirm", "mean")
    assert final["difference"] == pytest.approx(0.3)
    assert found["reinforce final2"]["status"] == "unchanged"
    assert ("tpo", tuple(range(10, 20))) in bench.trained
    assert ("reinforce", tuple(range(10, 20))) not in bench.trained


def test_what_the_reserve_does_not_confirm_passes(bench):
    """Bad luck on the screen is what the reserve is for."""
    bench.baseline()
    bench.quality["tpo"] = lambda seed: 0.1 if seed < 10 else 0.0
    code, answer = judged(bench)
    cell = next(c for c in answer["cells"] if c["rule"] == "tpo" and c["measure"] == "final2")
    assert code == 0
    assert cell["status"] == "ok"
    assert cell["reason"].startswith("flagged, not confirmed on seeds 10-19")


def test_a_better_rule_is_a_notice(bench):
    """IMPROVED, exit 0, and the advice to update."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: -0.2
    code, out, _ = bench.check()
    assert code == 0
    assert out.startswith("IMPROVED: 4 cells compared: 1 improved")
    assert out.count("final2") == 1
    assert "if nobody meant that, it is a bug" in out
    assert bench.check("--strict")[0] == 7


def test_too_few_seeds_to_tell_is_inconclusive_and_red_under_strict(bench):
    """Neither worse nor proven equal: exit 0, or 7; with the seeds that would be needed."""
    bench.baseline()
    bench.quality["tpo"] = lambda seed: 0.15 if seed % 2 else -0.14
    code, answer = judged(bench)
    cell = next(c for c in answer["cells"] if c["rule"] == "tpo" and c["measure"] == "final2")
    assert (code, cell["status"], answer["outcome"]) == (0, "inconclusive", "changed within noise")
    assert cell["seeds_needed"] > 10
    assert bench.check("--strict", "--fresh")[0] == 7


def test_seeds_that_stop_getting_there_are_a_regression_of_the_rate(bench):
    """Half of the runs never below the threshold: the steps cell fails, by its mean or its rate."""
    bench.baseline()
    bench.quality["tpo"] = lambda seed: 0.4 if seed % 2 else 0.0
    code, out, _ = bench.check("--json")
    assert code == 1
    assert verdicts(out)["tpo steps0.5m1"] == "regressed"


def test_a_diverged_rule_scores_the_worst(bench):
    """Nan is never left out: 1.0 against 0.3."""
    bench.baseline()
    bench.quality["reinforce"] = lambda _: float("nan")
    code, answer = judged(bench)
    cell = next(c for c in answer["cells"] if c["rule"] == "reinforce" and c["measure"] == "final2")
    assert (code, cell["status"], cell["new"]) == (1, "regressed", 1.0)


def test_a_run_that_raises_is_a_crash_with_its_reason(bench):
    """A crash in what passed before is red, without statistics: exit 3, as for every run without a result."""

    def raises(seed):
        if seed == 4:
            msg = "no such arm"
            raise IndexError(msg)
        return 0.0

    bench.baseline()
    bench.quality["tpo"] = raises
    code, answer = judged(bench)
    cell = next(c for c in answer["cells"] if c["rule"] == "tpo")
    assert (code, cell["status"]) == (3, "crashed")
    assert cell["reason"] == "crashed on seed 4, which passed in the baseline. seed 4 failed: IndexError: no such arm"


def test_margins_decide_what_is_worse(bench):
    """0.03 is above 10% of 0.3 = 0.03 by nothing, and far below 30% of it."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.06
    assert bench.check()[0] == 1
    assert bench.check("--margin", "error=0.01,0.3")[0] == 0


def test_without_confirmation_holm_decides_on_the_screen(bench):
    """--no-confirm: one test per cell, adjusted over the changed ones; nothing else is trained."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    code, answer = judged(bench, "--no-confirm")
    cell = next(c for c in answer["cells"] if c["rule"] == "tpo" and c["measure"] == "final2")
    assert (code, cell["status"], cell["stage"]) == (1, "regressed", "screen")
    assert max(seed for _, seeds in bench.trained for seed in seeds) == 9


def test_differences_within_rtol_are_equal(bench):
    """Last bits of another machine."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 1e-6
    assert "unchanged" not in verdicts(bench.check("--json")[1])["tpo final2"]
    assert verdicts(bench.check("--json", "--rtol", "1e-4")[1])["tpo final2"] == "unchanged"


# ---- nothing is never green


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_no_baseline_is_exit_4(bench, text):
    """Missing or empty."""
    if text is not None:
        (bench.folder / "base.jsonl").write_text(text, encoding="utf-8")
    code, out, err = bench.check()
    assert (code, out) == (4, "")
    assert "base.jsonl" in err


def test_a_corrupt_baseline_is_exit_6(bench):
    """Also one that a newer tpobench wrote."""
    bench.baseline()
    path = bench.folder / "base.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    assert bench.check()[0] == 6
    path.write_text(text.replace('"schema":1,"spec"', '"schema":99,"spec"'), encoding="utf-8")
    code, _, err = bench.check()
    assert code == 6
    assert "upgrade tpobench" in err


def test_nothing_to_compare_is_exit_4(bench):
    """No candidate and no runs: never green."""
    bench.baseline()
    code, out, _ = bench.check("--no-run")
    assert code == 4
    assert out.startswith("NOTHING COMPARED: 0 of 4 cells compared: 4 incomplete")
    assert bench.check("--suite", bench.suite("other"))[0] == 4


def test_a_missing_cell_is_incomplete(bench):
    """One rule of two: exit 3, whatever the other says."""
    bench.baseline()
    bench("run", "--suite", "tiny.toml", "--executor", "inline", "--algos", "tpo", "--out", "new")
    code, out, _ = bench.check("new", "--no-run", "--json")
    assert code == 3
    assert verdicts(out) == {
        "reinforce final2": "incomplete", "reinforce steps0.5m1": "incomplete", "tpo final2": "unchanged",
        "tpo steps0.5m1": "unchanged",
    }  # fmt: skip


def test_missing_seeds_are_incomplete(bench):
    """Eight seeds of ten are not the same experiment."""
    bench.baseline()
    bench("run", "--suite", "tiny.toml", "--executor", "inline", "--seeds", "8", "--out", "new")
    code, out, _ = bench.check("new", "--no-run")
    assert code == 4
    assert "2 of 10 seeds missing: 8, 9" in out


def test_a_flagged_cell_without_its_reserve_is_unconfirmed(bench):
    """--no-run cannot confirm: exit 3, not 0 and not 1."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    bench("run", "--suite", "tiny.toml", "--executor", "inline", "--seeds", "10", "--out", "new")
    code, out, _ = bench.check("new", "--no-run")
    assert code == 3
    assert "UNCONFIRMED" in out


def test_packed_results_are_a_candidate_too(bench):
    """A file of another machine."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    bench("run", "--suite", "tiny.toml", "--executor", "inline", "--out", "new")
    bench("pack", "new/tiny")
    code, out, _ = bench.check("new/tiny.jsonl", "--no-run", "--json")
    assert (code, verdicts(out)["tpo final2"]) == (1, "regressed")


def test_a_baseline_without_reserve_is_refused(bench):
    """Nothing could be confirmed, so nothing is trained; --no-confirm is the way out."""
    bench.baseline("--screen", "20")
    code, out, _ = bench.check()
    assert code == 4
    assert "no reserve seeds in the baseline" in out
    assert "--no-confirm" in out
    assert bench.trained == []
    assert bench.check("--no-confirm")[0] == 0


def test_the_baseline_is_no_candidate(bench):
    """Compared with itself everything is unchanged, so that is refused."""
    bench.baseline()
    code, _, err = bench("check", "--baseline", "results/tiny", "results", "--no-run")
    assert code == 2
    assert "holds the baseline itself" in err


# ---- comparable?


def test_other_settings_are_not_comparable_and_name_the_key(bench):
    """A changed suite is another experiment: exit 4 where it is all of it, 3 where it is a part."""
    bench.baseline()
    code, out, _ = bench.check("--suite", bench.suite(steps=6))
    assert code == 4
    assert "training.steps is 4 in the baseline, 6 here" in out
    assert bench.trained == []
    code, out, _ = bench.check("--suite", bench.suite(), "--set", "hyper.tpo.eta=2")
    assert code == 3
    assert "NOT COMPARABLE: tiny tpo final2, tiny tpo steps0.5m1: hyper.eta is 1.0 in the baseline, 2.0 here" in out


def test_scoring_is_part_of_the_settings(bench):
    """Another window is another number."""
    bench.baseline()
    out = bench.check("--suite", "tiny.toml", "--set", "report.window=3")[1]
    assert "report.window is 2 in the baseline, 3 here" in out


def test_results_of_other_settings_are_not_comparable(bench):
    """Also without --suite, when they were run with them."""
    bench.baseline()
    bench("run", "--suite", "tiny.toml", "--set", "learning_rate=0.2", "--executor", "inline", "--out", "new")
    out = bench.check("new", "--no-run")[1]
    assert "training.learning_rate is 0.1 in the baseline, 0.2 here" in out


def test_new_cells_are_said_and_not_judged(bench):
    """A rule that the baseline lacks."""
    bench.baseline()
    code, out, _ = bench.check("--suite", bench.suite(algorithms=("tpo", "reinforce", "dg")))
    assert code == 0
    assert "note: not in the baseline, so not judged: tiny dg" in out


def test_a_changed_default_is_said_where_no_suite_is_named(bench, monkeypatch):
    """The baseline's own values are run, so its effect would stay unseen; with --suite it is not comparable."""
    from tpobench.algorithms.catalog import ALGORITHMS

    bench.baseline()
    monkeypatch.setitem(ALGORITHMS, "tpo", ALGORITHMS["tpo"].with_hyper(eta=3.0))
    code, out, _ = bench.check()
    assert code == 0
    assert "tpo is run with eta = 1.0 as in the baseline, its default is 3.0" in out
    assert bench.check("--suite", "tiny.toml")[0] == 3


def test_a_rule_that_is_gone_is_incomplete(bench, monkeypatch):
    """Deleting a rule does not delete its cells; the message says how a plugin's rule is brought along."""
    from tpobench.algorithms.catalog import ALGORITHMS

    bench.baseline()
    monkeypatch.delitem(ALGORITHMS, "tpo")
    code, out, _ = bench.check()
    assert code == 3
    assert "no algorithm 'tpo' here; name its file with --plugin" in out


# ---- whose results these are


def test_other_code_is_trained_anew_in_a_folder_of_its_own(bench, monkeypatch):
    """The default folder is keyed by the sources, so nothing cached belongs to other code."""
    from tpobench.check import code

    bench.baseline()
    bench.check()
    old = code.code_under_test(())
    source = bench.folder / "package"
    source.mkdir()
    (source / "rule.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(code, "PACKAGE", source)
    assert code.code_under_test(()).key != old.key
    assert judged(bench)[1]["candidate"]["made_now"] == 20
    assert {p.name for p in (bench.folder / "results" / "check").iterdir()} == {old.key, code.code_under_test(()).key}
    before = code.code_under_test(()).key
    (source / "rule.py").write_text("x = 2\n", encoding="utf-8")
    assert code.code_under_test(()).key != before


def test_a_folder_of_other_code_is_not_judged_as_this(bench):
    """A named folder keeps the key of its code: after an edit it is stale, --no-run or --fresh say what is meant."""
    bench.baseline()
    assert bench.check("mine")[0] == 0
    assert bench.check("mine")[0] == 0
    (bench.folder / "mine" / "code.json").write_text(json.dumps({"key": "other"}), encoding="utf-8")
    bench.quality["tpo"] = lambda _: 0.3
    code, _, err = bench.check("mine")
    assert code == 2
    assert "another state of the code" in err
    assert bench.check("mine", "--no-run")[0] == 0
    assert bench.check("mine", "--fresh")[0] == 1


@pytest.mark.parametrize("missing", [False, True])
def test_results_of_another_commit_are_refused(bench, missing):
    """Whether something would be added to them or not."""
    bench.baseline()
    bench("run", "--suite", "tiny.toml", "--executor", "inline", "--out", "new")
    paths = sorted((bench.folder / "new").rglob("runs/*/*.json"))
    for path in paths:
        held = json.loads(path.read_text(encoding="utf-8"))
        held["provenance"]["git"] = "0123456789ab"
        path.write_text(json.dumps(held), encoding="utf-8")
    if missing:
        paths[0].unlink()
    code, _, err = bench.check("new")
    assert code == 2
    assert "new holds results made with git 0123456789ab, here is" in err


def test_results_of_this_commit_are_taken(bench):
    """Nothing is trained again; where the code is not committed, it is said that this cannot be told."""
    bench.baseline()
    bench("run", "--suite", "tiny.toml", "--executor", "inline", "--out", "new")
    bench.trained.clear()
    assert bench.check("new")[0] == 0
    assert bench.trained == []


def test_fresh_deletes_only_what_check_made(bench):
    """Somebody's results stay."""
    bench.baseline()
    bench("run", "--suite", "tiny.toml", "--executor", "inline", "--out", "new")
    code, _, err = bench.check("new", "--fresh")
    assert code == 2
    assert "was not made by it" in err
    assert (bench.folder / "new" / "tiny" / "runs").is_dir()


def test_check_never_changes_the_baseline(bench):
    """Whatever the verdict."""
    bench.baseline()
    before = [(bench.folder / n).read_bytes() for n in ("base.jsonl", "base.log.json")]
    bench.quality["tpo"] = lambda _: 0.3
    bench.check()
    assert before == [(bench.folder / n).read_bytes() for n in ("base.jsonl", "base.log.json")]


def test_plugins_are_part_of_the_code_under_test():
    """Their text, wherever the file lies."""
    from tpobench.check.code import code_under_test
    from tpobench.plugins.load import Plugin

    keys = [code_under_test(p).key for p in ((), [Plugin("a", "x")], [Plugin("a", "y")], [Plugin("b", "x")])]
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]


# ---- waivers


def waive(bench, text):
    """A file of waivers."""
    (bench.folder / "waivers.toml").write_text(text, encoding="utf-8")
    return "--waivers", "waivers.toml"


def test_a_waived_regression_passes_and_stays_visible(bench):
    """In the headline, the table and the JSON."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    words = waive(bench, f"[[waiver]]\ncell = '-'\nrule = 'tpo'\n{DAY}")
    code, out, _ = bench.check(*words)
    assert code == 0
    assert "2 regressed but waived" in out.splitlines()[0]
    assert "REGRESSED (waived until 2999-01-01)" in out
    _, answer = judged(bench, *words)
    cells = [c for c in answer["cells"] if c["waived"]]
    assert [(c["rule"], c["waiver"]["until"], c["status"]) for c in cells] == [("tpo", "2999-01-01", "regressed")] * 2


def test_a_waiver_of_one_measure_leaves_the_other(bench):
    """The rest still fails."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    words = waive(bench, f"[[waiver]]\nsuite = 'tiny'\ncell = '-'\nrule = 'tpo'\nmeasure = 'final2'\n{DAY}")
    code, out, _ = bench.check(*words)
    assert code == 1
    assert "1 regressed, 2 unchanged, 1 regressed but waived" in out


def test_an_expired_waiver_counts_as_none_and_is_said(bench):
    """So the gate comes back by itself."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    entry = "[[waiver]]\ncell = '-'\nrule = 'tpo'\nuntil = 2020-01-31\nreason = 'known'\n"
    code, out, _ = bench.check(*waive(bench, entry))
    assert code == 1
    assert "note: waiver of tpo expired on 2020-01-31 and counts as none: known" in out


def test_waivers_that_do_nothing_are_said(bench):
    """A wrong name, and one that is not needed any more."""
    bench.baseline()
    entries = f"[[waiver]]\ncell = '-'\nrule = 'tpoo'\n{DAY}[[waiver]]\ncell = '-'\nrule = 'tpo'\n{DAY}"
    code, out, _ = bench.check(*waive(bench, entries))
    assert code == 0
    assert "waiver of tpoo matches no cell of the baseline" in out
    assert "waiver of tpo is not needed" in out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[waiver]", "not readable as TOML"),
        ("waiver = " + "[" * 900, "not readable as TOML: more than 16 tables and lists within each other"),
        ("waiver = " + "9" * 5000, "not readable as TOML: an integer of more than 64 bits"),
        ("#" * 1_000_001, "larger than 1 MB"),
        ("[[waivers]]\n", "did you mean 'waiver'"),
        ("waiver = 1", "written [[waiver]]"),
        (f"[[waiver]]\ncell = '-'\n{DAY}", "'rule' is missing"),
        ("[[waiver]]\ncell = '-'\nrule = 'tpo'\nuntil = '2999-01-01'\nreason = 'x'", "write a date without quotes"),
        ("[[waiver]]\ncell = '-'\nrule = 'tpo'\nuntil = 2999-01-01\nreason = ' '", "'reason' is ' '"),
        (f"[[waiver]]\ncell = '-'\nrule = 'tpo'\nrulle = 'x'\n{DAY}", "did you mean 'rule'"),
    ],
)
def test_waivers_are_read_strictly(bench, text, told):
    """A waiver that is not understood must not look like one that holds."""
    bench.baseline()
    code, _, err = bench.check(*waive(bench, text))
    assert code == 2
    assert told in err


# ---- usage


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--set", "steps=6"], "name it with --suite"),
        (["--margin", "eror=1"], "did you mean 'error'"),
        (["--margin", "error=x"], "write KIND=FLOOR,REL"),
        (["--margin", "error=-1"], "write KIND=FLOOR,REL"),
        (["--margin", "rate=0.2,0.1"], "rate=FLOOR,0"),
        (["--margin", "steps=1,0.1"], "steps=0,REL"),
        (["--executor", "ray"], "valid: inline, local"),
        (["--jobs", "2"], "leave it out"),
        (["--no-run", "--fresh"], "choose one of them"),
        (["--plugin", "none.py"], "no plugin at"),
        (["--suite", "tinny.toml"], "no suite file"),
    ],
)
def test_usage_errors_are_exit_2(bench, words, text):
    """One line, and nothing is trained."""
    bench.baseline()
    code, out, err = bench.check(*words)
    assert (code, out, bench.trained) == (2 if "tinny.toml" not in words else 4, "", [])
    assert text in err or "tinny.toml" in words


def test_margins_from_the_command_line():
    """Floor and factor; the other kinds keep theirs."""
    found = parse_margins(["error=0.02,0.2", "steps=0,0.5", "rate=0.3"])
    assert found["error"] == Margin(0.02, 0.2)
    assert found["steps"] == Margin(0.0, 0.5, logarithmic=True)
    assert found["rate"] == Margin(0.3)
    assert found["reward"] == MARGINS["reward"]


# ---- evidence


def test_measures_are_two_at_most():
    """Steps only where some run gets there; the window is no longer than the curve."""
    reporting = {**REPORTING, "thresholds": [0.4], "window": 5, "persist": 1}

    def runs(*errors):
        return Runs({seed: record(seed, error=e, reporting=reporting) for seed, e in enumerate(errors)})

    (final,) = measures_of(runs(0.5))
    assert (final.name, final.kind) == ("final2", "error")
    assert final.values(runs(0.25)) == {0: 0.5}  # mean of 0.75 and 0.25
    final, steps = measures_of(runs(0.25, 0.5))
    assert (steps.name, steps.kind) == ("steps0.4m1", "steps")
    assert steps.values(runs(0.25)) == {0: 1}
    assert steps.failed(runs(0.25, 0.5)) == {0: False, 1: True}
    curve = {"step": [0, 1], "interactions": [0, 4], "gradient_steps": [0, 1], "regret": [0.75, 0.5]}
    other = measures_of(Runs({0: record(reporting={**REPORTING, "metric": "regret"}, curve=curve)}))
    assert other[0].kind == "reward"


def test_the_margin_is_never_below_the_resolution_of_the_evaluation(tmp_path):
    """4 prompts x 5 answers x 2 evaluations: a mean moves in steps of 1 / 40."""
    task = {"kind": "sequence", "prompts": 4, "candidates": 5}
    sampled = [record(s, changes={"task": task}, reporting={**REPORTING, "window": 2}) for s in (0, 1)]
    assert resolution(sampled[0]) == 1 / 40
    tokens = record(changes={"task": {**task, "kind": "tokens"}}, reporting=sampled[0].reporting)
    assert resolution(tokens) == 1 / 8  # one rollout per prompt, however many next tokens were drawn beside it
    assert resolution(record()) == 0.0
    for name, records, floor in (("a", sampled, 1 / 40), ("b", [record(0), record(1)], 0.01)):
        base = read_baseline(write_jsonl(tmp_path / f"{name}.jsonl", *records))
        assert gate_cells(base, candidate_of(base, ()))[0].evidence.margin == Margin(floor, 0.1, told=TOLD)


def test_a_diverged_run_has_failed_in_both_measures():
    """Whatever its curve says before."""
    reporting = {**REPORTING, "persist": 1}
    lost = Runs({0: record(status="diverged", error=0.01, reporting=reporting)})
    for measure in measures_of(Runs({0: record(error=0.01, reporting=reporting)})):
        assert (measure.values(lost), measure.failed(lost)) == ({0: 1.0}, {0: True})


@pytest.mark.parametrize(
    ("where", "spec", "scheme"),
    [({"torch": "2.9.0"}, {}, True), ({"seed_scheme": "2"}, {}, False), ({}, {"device": "cuda"}, True)],
)
def test_the_seed_scheme_decides_whether_seeds_are_pairs(tmp_path, where, spec, scheme):
    """Another machine, torch, device or stack changes last bits, and the pairs stay; other random numbers are none."""
    origin = {"torch": "2.13.0", "platform": "Linux-6.1-x86_64", "seed_scheme": "1", "cpu": "one"}
    base = read_baseline(write_jsonl(tmp_path / "b.jsonl", *(record(s, provenance=origin) for s in range(4))))
    new = [record(s, provenance={**origin, **where}, changes=spec) for s in range(4)]
    cell = gate_cells(base, candidate_of(base, new))[0]
    assert (cell.evidence.incomparable, len(cell.evidence.candidate)) == ("", 2)
    assert cell.evidence.same_scheme is scheme


def test_the_version_of_a_plugin_s_rule_is_under_test(tmp_path):
    """Not a setting: an edited rule is compared, and results of an older edit are not taken for it."""
    base = read_baseline(
        write_jsonl(tmp_path / "b.jsonl", *(record(s, changes={"algorithm_version": "a"}) for s in (0, 1)))
    )
    old = [record(s, changes={"algorithm_version": "a"}) for s in (0, 1)]
    new = [record(s, error=0.9, changes={"algorithm_version": "b"}) for s in (0, 1)]
    (cell, *_) = gate_cells(base, candidate_of(base, [*old, *new], {"tpo": "b"}))
    assert cell.evidence.candidate == {0: 0.9}
    (cell, *_) = gate_cells(base, candidate_of(base, old, {"tpo": "b"}))
    assert cell.evidence.candidate == {}
    (cell, *_) = gate_cells(base, candidate_of(base, [*old, *new]))
    assert "several versions of the algorithm" in cell.evidence.incomparable


# ---- real runs


PLUGIN = """
from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.credit import baseline_advantage
from tpobench.algorithms.fit import policy_gradient


def credit(groups):
    return {sign}baseline_advantage(groups)


register(Algorithm("mine", credit, policy_gradient, paper="ours"))
"""


@pytest.mark.slow
def test_a_flipped_sign_in_a_plugin_is_found_in_child_processes(bench, monkeypatch):
    """Edited file, same baseline: trained in isolated processes, flagged, confirmed, exit 1; then back to 0."""
    monkeypatch.undo()
    monkeypatch.chdir(bench.folder)
    plugin = bench.folder / "mine.py"
    plugin.write_text(PLUGIN.format(sign=""), encoding="utf-8")
    suite = bench.suite(steps=20, algorithms=("mine",))
    words = ("--plugin", "mine.py", "--jobs", "1")
    assert bench("run", "--suite", suite, *words)[0] == 0
    assert bench("baseline", "update", "base.jsonl", "results/tiny", "--reason", "first")[0] == 0
    check = ("check", "--baseline", "base.jsonl", "--suite", suite, "--json", *words)
    code, out, _ = bench(*check)
    assert (code, set(verdicts(out).values())) == (0, {"unchanged"})
    plugin.write_text(PLUGIN.format(sign="-"), encoding="utf-8")
    code, out, err = bench(*check)
    assert (code, verdicts(out)["mine final2"]) == (1, "regressed")
    assert "confirming" in err
    plugin.write_text(PLUGIN.format(sign=""), encoding="utf-8")
    code, out, _ = bench(*check)
    assert (code, json.loads(out)["candidate"]["made_now"]) == (0, 0)


@pytest.mark.parametrize(("jobs", "kept"), [(1, 10), (3, 30)])
def test_a_check_that_is_stopped_goes_on_where_it_was(bench, jobs, kept):
    """Ctrl-C within the screen, or within the confirmation: 130; the next check makes the rest and says the same."""
    bench.baseline()

    def stopped(_):
        if len(bench.trained) == jobs and not asked:
            asked.append(signal.raise_signal(signal.SIGINT))
        return 0.3

    asked = []
    bench.quality = dict.fromkeys(("tpo", "reinforce"), stopped)
    code, out, err = bench.check()
    assert (code, out) == (130, "")
    assert "the same command goes on from there" in err
    assert sum(len(seeds) for _, seeds in bench.trained) == kept
    bench.trained.clear()
    code, answer = judged(bench)
    assert (code, answer["candidate"]["made_now"]) == (1, 40 - kept)
    assert len(bench.trained) == 4 - jobs


def test_a_run_folder_or_a_folder_of_several_can_be_the_candidate(bench):
    """What is missing goes beside what is there."""
    bench.baseline()
    new = write(bench.folder / "cand" / "tiny")
    assert bench.check("cand")[0] == 0
    assert len(list(new.rglob("runs/*/*.json"))) == 20
    kept, _ = load_packed(bench.folder / "base.jsonl")
    assert len(kept) == 40


def test_bad_margins_raise():
    """A library user gets the same line."""
    with pytest.raises(UsageError, match="unknown kind of margin"):
        parse_margins(["x=1"])


# ---- digits


def exact_record(seed, error, start=0.25):
    """A run of a suite whose digits are compared."""
    curve = {"step": [0, 1], "interactions": [0, 8], "gradient_steps": [0, 1], "error": [0.75, error]}
    return record(seed, reporting={**REPORTING, "exact": True}, curve=curve, facts={"initial_success": start})


@pytest.mark.parametrize(
    ("errors", "starts", "status", "why"),
    [
        ((0.5, 0.6), (0.25, 0.5), "unchanged", "the same digits"),
        ((0.5000005, 0.6), (0.25, 0.5), "unchanged", "the same digits"),
        ((0.51, 0.6), (0.25, 0.5), "changed", "from update 1 on error is 0.51, was 0.5"),
        ((0.51, 0.61), (0.3, 0.6), "redrawn", "other random numbers"),
        ((0.5, 0.5), (0.25, 0.25), "changed", "from update 1 on error is 0.5, was 0.6"),
        ((0.51, 0.51), (0.7, 0.7), "changed", "from update 1 on error is 0.51, was 0.6"),
    ],
)
def test_digits_are_the_same_or_something_else_is_computed(tmp_path, errors, starts, status, why):
    """A last digit is forgiven; other random numbers of every seed are no change; seeds that share theirs are."""
    base = read_baseline(write_jsonl(tmp_path / "b.jsonl", exact_record(0, 0.5), exact_record(1, 0.6, 0.5)))
    new = [exact_record(s, e, start) for s, (e, start) in enumerate(zip(errors, starts, strict=True))]
    (cell,) = gate_cells(base, candidate_of(base, new))
    (verdict,) = decide([cell.evidence]).verdicts
    assert (cell.measure, verdict.status) == ("digits", status)
    assert why in verdict.reason


@pytest.mark.parametrize(
    ("was", "now", "same"), [(6.3e-19, 0.0, True), (2e-16, 9e-13, True), (0.0, 1e-11, False), (1.0, 1.00001, False)]
)
def test_sums_that_cancel_end_at_other_bits_of_nothing(was, now, same):
    """A gradient of 0 is 1e-17 on one processor and 0 on the next: no other computation; from 1e-12 on it is one."""
    old, new = (replace(exact_record(0, 0.5), curve={"step": [0], "gradient_norm": [x]}) for x in (was, now))
    assert (digits_of(old, new)[1] == "") is same


def test_last_bits_of_trained_cells_are_noise_in_the_headline(bench):
    """Float32 on another processor: differences of both signs and of 1e-5 are CHANGED WITHIN NOISE, exit 0."""
    bench.baseline()
    bench.quality["tpo"] = lambda seed: 1e-5 * (-1) ** seed
    code, answer = judged(bench)
    assert code == 0
    assert answer["headline"] == "CHANGED WITHIN NOISE: 4 cells compared: 1 ok, 3 unchanged"


def test_a_refactoring_is_held_to_every_bit(bench):
    """--expect-unchanged: a difference within every margin is exit 1, and no reserve seed is trained for it."""
    bench.baseline()
    assert bench.check("--expect-unchanged")[0] == 0
    bench.quality["tpo"] = lambda _: 1e-5
    assert bench.check("--fresh")[0] == 0
    code, out, _ = bench.check("--fresh", "--expect-unchanged")
    assert (code, out.split(":")[0]) == (1, "CHANGED")
    assert max(seed for _, seeds in bench.trained for seed in seeds) == 9
