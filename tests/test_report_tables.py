"""Details, the suite as a whole, the paper's conventions, and what the options change."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import record_helpers
from simulated import grid, record

from tpobench.errors import CorruptResults, RunsFailed, UsageError
from tpobench.records.results import Results
from tpobench.report import ReportOptions, make_report, write_report
from tpobench.report.document import document_of
from tpobench.scores.reporting import Reporting
from tpobench.tables.exports import csv_text

SPREAD = [0.01 * i for i in range(20)]


def flat(algorithm, errors, **kwargs):
    """One run per seed whose error never changes."""
    return [record(algorithm, seed, [e] * 10, **kwargs) for seed, e in enumerate(errors)]


def results(*runs):
    return Results(tuple(r for group in runs for r in group))


def table(found, name, how=None):
    return next(t for s in make_report(found, options=how).sections for t in s.tables if t.name == name)


def texts(found, name, how=None):
    """Rows of a table as texts."""
    return [[c.text for c in row] for row in table(found, name, how).rows]


LOST = [record("tpo", s, [0.5, None], status="diverged") for s in (18, 19)]


def test_details_stand_beside_the_mean():
    """20 seeds at 0, 1, .. 19 %: 5 solved, median 9.5, middle half 9.5, worst quarter 17."""
    (row,) = texts(results(flat("tpo", SPREAD)), "details-final5")
    assert row[:5] == ["sequence", "tpo", "20", "9.5 [6.7, 12.2]", "5/20 [11%, 47%]"]
    assert [t.split()[0] for t in row[5:]] == ["9.5", "9.5", "17.0"]


def test_statistics_of_too_few_seeds_are_not_offered():
    """No quarter of three seeds, no interval of their median."""
    (row,) = texts(results(flat("tpo", [0.1, 0.2, 0.4])), "details-final5")
    assert row[5:] == [
        "20.0 (3 seeds: no 95% interval of a median; need 6)", "3 seeds: no IQM; need 4", "3 seeds: no CVaR25; need 8",
    ]  # fmt: skip


def test_times_have_their_restricted_mean_and_ert():
    """10 of 20 at once, 10 never within 90 updates: mean of min 45, 900 steps for 10 successes."""
    found = results(flat("tpo", [0.0] * 10 + [0.5] * 10))
    (row,) = texts(found, "details-steps0.1m3")
    assert row[2] == "10/20 [30%, 70%]"
    assert row[4].startswith("45 [")
    assert row[5] == "90"
    assert texts(results(flat("tpo", [0.5] * 8)), "details-steps0.1m3")[0][2:4] == ["0/8 [0%, 32%]", ">90"]
    assert texts(results(flat("tpo", [0.5] * 8)), "details-steps0.1m3")[0][5] == "never"


def test_the_suite_table_weighs_cells_alike():
    """Errors of 10 and 30 % are a score of .8; the others, 20 points worse in both, of .6."""
    rng = np.random.default_rng(1)

    def runs(rule, level, cell):
        return flat(rule, level + rng.uniform(-0.01, 0.01, 12).round(4), cell={"length": cell})

    found = results(runs("tpo", 0.1, 4), runs("tpo", 0.3, 6), runs("grpo", 0.3, 4), runs("grpo", 0.5, 6))
    rows = table(found, "suite").rows
    assert [r[0].text for r in rows] == ["tpo", "grpo"]
    assert [r[1].data["estimate"]["value"] for r in rows] == pytest.approx([0.8, 0.6], abs=0.005)
    assert [(r[1].best, r[1].leader) for r in rows] == [(True, True), (False, False)]
    assert [r[3].text for r in rows] == ["0/24", "0/24"]
    (pair,) = table(found, "tests-suite").rows
    assert pair[-1].text == "better"
    assert pair[-1].data["difference"] == pytest.approx(0.2, abs=0.01)


def test_a_cell_that_a_rule_lacks_counts_for_no_rule():
    """Averages over different cells would not be comparable."""
    runs = [r for r in grid(["tpo", "grpo"], lengths=(4, 6, 8), seeds=6).records
            if not (r.spec["algorithm"] == "grpo" and r.spec["cell"]["length"] == 8)]  # fmt: skip
    found = table(Results(tuple(runs)), "suite")
    assert [r[3].text.partition("/")[2] for r in found.rows] == ["12", "12"]
    assert "Cells without some of the algorithms are left out for all: length=8" in found.notes
    assert "2cells" in found.signature


def test_one_cell_is_no_suite():
    """Its own table says it all."""
    names = [t.name for t in make_report(results(flat("tpo", SPREAD))).sections[0].tables]
    assert names == ["summary", "details-final5", "details-steps0.1m3", "details-steps0.01m3"]


def test_pairwise_tables_say_what_the_test_could_do():
    """P(better) with its interval, the least p that so many seeds can give, and the family."""
    rows = texts(results(flat("tpo", [0.1, 0.2, 0.3]), flat("grpo", [0.25, 0.35, 0.5])), "tests-final5")
    (row,) = rows
    assert row[3] == "n=3"
    assert row[5].startswith("89% [")
    assert row[6:10] == ["", "", ".1", "1"]
    assert row[10] == "n=3: smallest possible p .1 > .05 (Holm, 1 test): cannot reject; need 4 seeds"


SHARE = re.compile(r"P\(|Solved|Reached|Share|\(%\)")  # columns of shares


def test_shares_are_in_percent_for_people_and_between_0_and_1_for_scripts():
    """Every column of shares of every table of a report; the numbers behind an entry are those of the estimate."""
    found = grid(["tpo", "grpo"], lengths=(4, 6), seeds=6)
    tables = [t for s in make_report(found).sections for t in s.tables]
    columns = [(t, i) for t in tables for i, name in enumerate(t.header) if SHARE.search(name)]
    assert {t.name.split("-")[0] for t, _ in columns} >= {"details", "tests", "suite"}
    texts_of = [re.sub(r"\d+/\d+", "", row[i].text).strip() for t, i in columns for row in t.rows]
    assert all(re.fullmatch(r"(\d+%)?( ?\[\d+%, \d+%\])?", text) for text in texts_of), texts_of
    solved = table(found, "details-final5").rows[0][4]
    assert 0 <= solved.data["estimate"]["low"] <= solved.data["estimate"]["high"] <= 1


def test_every_error_of_answers_is_a_share_and_thresholds_speak_its_unit():
    """The error of the worst task as that of all; a reward is a number."""
    error, reward = Reporting(metric="worst_error"), Reporting(metric="reward")
    assert (error.scale, error.unit, error.level(0.05), error.brief(0.1234)) == (100.0, " (%)", "5%", "12%")
    assert (reward.scale, reward.unit, reward.level(0.05), reward.brief(0.1234)) == (1.0, "", "0.05", "0.12")


def test_a_rule_that_always_diverges_is_compared_by_how_often():
    """Scores without spread carry no test; the counts do."""
    lost = [record("grpo", s, [0.5, None], status="diverged") for s in range(20)]
    row = table(results(flat("tpo", SPREAD), lost), "tests-final5").rows[0]
    assert (row[-1].text, row[-1].data["test"]) == ("better", "boschloo")


def test_seeds_that_do_not_vary_are_asked_about():
    """Two constants differ without any sampling variance."""
    notes = table(results(flat("tpo", [0.2] * 5), flat("grpo", [0.3] * 5)), "summary").notes
    assert "sequence: no seed of grpo and tpo differs, so check that the seeds are really varied" in notes


def test_a_mean_that_one_seed_makes_is_marked():
    """19 seeds at zero and one at 80 %: its interval covers less than it says."""
    notes = table(results(flat("tpo", [0.0] * 19 + [0.8])), "summary").notes
    assert notes[-1].endswith("(try --ci studentized): sequence, tpo (100%)")


@pytest.mark.parametrize(
    ("ci", "printed", "signature"),
    [("auto", "9.5 [6.7, 12.2]", "bca-exp95"), ("t", "9.5 [6.7, 12.3]", "t95"), ("se", "9.5 ± 1.3", "se")],
)
def test_the_interval_can_be_chosen(ci, printed, signature):
    """0 .. 19 %: s = 5.92, so s.e. = 1.32 and t = 2.093 x 1.32 = 2.77; the signature names it."""
    found = table(results(flat("tpo", SPREAD)), "summary", ReportOptions(ci=ci))
    assert found.rows[0][1].text == f"{printed}; 5/20 solved"
    assert f"|ci:{signature}|" in found.signature.splitlines()[0]


def test_the_papers_conventions():
    """Last evaluation, s.e. with ddof 0, crossing of the mean curve beside the first crossing of each seed."""
    runs = [record("tpo", s, [0.5] * 9 + [e]) for s, e in enumerate(SPREAD)]
    found = make_report(results(runs), options=ReportOptions(paper_compat=True)).sections[0].tables
    summary = found[0]
    assert summary.header[1:3] == ("Error (%) ↓, at the end", "Updates to error < 10% ↓")
    assert summary.rows[0][1].text == "9.5 ± 1.3; 5/20 solved"
    assert summary.rows[0][1].data["estimate"]["method"] == "se-ddof0"
    assert summary.signature.endswith("|conventions:paper\n" + summary.signature.splitlines()[-1])
    crossing = next(t for t in found if t.name == "mean-curve0.1").rows[0][1]
    assert crossing.data["crossing"]["value"] == 90.0
    assert 0.1 < crossing.data["crossing"]["never_share"] < 0.5
    assert crossing.text.startswith("90 [90, >90] (")
    never = next(t for t in found if t.name == "mean-curve0.01").rows[0][1].text
    assert never == ">90 (100% of resamples never)"


def test_diverged_runs_can_be_dropped_but_not_hidden():
    """Counted in the entry, scored in a note, listed in the csv."""
    found, how = results(flat("tpo", SPREAD[:18]), LOST), ReportOptions(diverged="drop")
    summary = table(found, "summary", how)
    assert summary.rows[0][1].text == "8.5 [5.8, 11.1] (2/20 diverged, dropped); 5/18 solved"
    assert "sequence, tpo: with the 2 diverged runs scored 100.0 18 [8, 40]" in summary.notes
    assert summary.signature.splitlines()[0].endswith("|diverged:drop")
    rows = list(csv.DictReader(io.StringIO(csv_text(document_of(make_report(found, options=how))))))
    assert [(r["seed"], r["status"], r["final5"]) for r in rows[18:]] == [
        ("18", "diverged", ""),
        ("19", "diverged", ""),
    ]


def marked(found, column):
    """The rules whose entry in a column of the summary is bold."""
    return [row[0].text for row in table(found, "summary").rows if row[column].best]


def test_a_rule_that_never_got_there_is_not_marked_beside_one_that_did():
    """4 of 10 reach 1 % against 0 of 10, which ranks cannot tell apart; nobody reaches it, and nobody is marked."""
    some = [record("tpo", s, [0.5] * 2 + [0.005 if s < 4 else 0.5] * 8) for s in range(10)]
    never = [record(rule, s, [0.6 + 0.01 * s] * 10) for rule in ("grpo", "ppo") for s in range(10)]
    assert marked(results(some, never), 3) == ["tpo"]
    assert marked(results(never), 3) == []
    assert marked(results(never), 1) == []  # nobody succeeded, so that there is no verdict
    assert marked(results(some, never), 1) == ["tpo"]


def test_a_rule_of_which_no_run_lasted_is_not_marked():
    """3 of 3 diverged is no tie with .04, though 3 seeds cannot tell; where all diverged nobody is marked."""
    lost = [record(rule, s, [0.5, math.nan], status="diverged") for rule in ("grpo", "ppo") for s in range(3)]
    bad = [record("tpo", s, [0.04 + 0.001 * s] * 2) for s in range(3)]
    assert marked(results(bad, lost), 1) == ["tpo"]
    assert marked(results(lost), 1) == []


def test_a_rule_without_any_run_left_is_still_there():
    """`diverged 2/2`, never a gap."""
    found = results(LOST, flat("grpo", SPREAD))
    assert texts(found, "summary", ReportOptions(diverged="drop"))[0][:2] == ["tpo", "diverged 2/2"]


def test_diverged_runs_can_be_refused():
    """Exit code 3, with the first of them and what else there is to do."""
    with pytest.raises(RunsFailed, match=r"2 runs diverged: tpo seed 18 \(-\), tpo seed 19 \(-\); .*worst.*drop"):
        make_report(results(LOST), options=ReportOptions(diverged="fail"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ci": "bcaa"}, "unknown interval 'bcaa'; did you mean 'bca'"),
        ({"diverged": "skip"}, "unknown policy for diverged runs 'skip'; valid: drop, fail, worst"),
        ({"figure_formats": ["jpg"]}, "unknown figure format 'jpg'"),
    ],
)
def test_unknown_options_are_refused_before_anything_is_written(tmp_path, options, said):
    """With the valid ones named."""
    with pytest.raises(UsageError, match=said):
        write_report(results(flat("tpo", SPREAD)), tmp_path, ["md"], **options)
    assert list(tmp_path.iterdir()) == []


def test_no_figure_formats_no_figures(tmp_path):
    """Nor links to them."""
    files = write_report(results(flat("tpo", SPREAD)), tmp_path, ["md", "latex"], figure_formats=[])
    assert [f.name for f in files] == ["report.md", "report.tex"]
    assert "figures/" not in files[0].read_text() + files[1].read_text()


def test_versions_of_a_suite_stay_apart():
    """A report of both has both."""
    first = flat("tpo", [0.1, 0.2])
    second = [replace(r, spec={**r.spec, "suite_version": 2}) for r in first]
    assert [s.suite for s in make_report(results(first, second)).sections] == ["simulated@1", "simulated@2"]


def remade(runs, **changes):
    """The same seeds again with another spec; a table of the spec is changed key by key."""
    return [
        replace(r, id=f"{r.id}-again", spec={
            **r.spec, **{k: {**r.spec.get(k, {}), **v} if isinstance(v, dict) else v for k, v in changes.items()}
        }) for r in runs
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"task": {"data": "digits"}}, {"task": {"data": "mnist"}}, 'task.data = "digits" and with "mnist"'),
        ({"task": {"data_sha256": ""}}, {"task": {"data_sha256": "ab"}}, 'task.data_sha256 = "" and with "ab"'),
        ({"task": {"arms": 100}}, {"task": {"arms": 50}}, "task.arms = 100 and with 50"),
        ({}, {"training": {"learning_rate": 0.1}}, "training.learning_rate = nothing and with 0.1"),
        ({"hyper": {"eta": 1.0}}, {"hyper": {"eta": 0.5}}, "hyper.eta = 1.0 and with 0.5"),
        ({"algorithm_version": "1"}, {"algorithm_version": "ab"}, 'algorithm_version = "1" and with "ab"'),
    ],
)
def test_a_seed_under_two_settings_is_no_cell(first, second, said):
    """Runs on other data are no repetitions, and no seed may count twice."""
    runs = flat("tpo", SPREAD[:2])
    found = results(remade(runs, **first), remade(runs, **second), flat("grpo", SPREAD))
    with pytest.raises(CorruptResults, match=r"^suite 'simulated': seed 0 of tpo \(-\) has runs with ") as caught:
        make_report(found)
    assert f"with {said}; one table must not mix them, report their folders one at a time" in str(caught.value)
    make_report(results(remade(runs, **first), flat("grpo", SPREAD)))


def test_settings_may_differ_where_no_seed_has_two_results():
    """Between cells, between rules, and where one run has failed."""
    runs = flat("tpo", SPREAD[:2])
    other = {"training": {"learning_rate": 0.1}}
    failed = [replace(r, status="failed", curve={}) for r in remade(runs, **other)]
    make_report(results(runs, failed, remade(flat("grpo", SPREAD[:2]), **other)))
    make_report(results(runs, remade(flat("tpo", SPREAD[:2], cell={"length": 4}), **other)))


def test_one_experiment_on_two_machines_is_reported():
    """Threads, device and stack are not what is trained."""
    runs = flat("tpo", SPREAD[:2])
    make_report(results(runs, remade(runs, threads=4, device="cuda", seed_batch=20)))


def test_a_metric_that_no_run_recorded_is_named():
    """With those that were."""
    wrong = {**flat("tpo", [0.1])[0].reporting, "metric": "nope"}
    runs = flat("tpo", SPREAD[:2], reporting=wrong, misalignment=[0.2] * 10)
    said = r"^suite 'simulated': report.metric=nope is not recorded in runs of tpo .* record error, misalignment; run "
    with pytest.raises(UsageError, match=said):
        make_report(results(runs))


def test_online_adaptations_of_preference_losses_lead_nothing():
    """However well they end: their losses were made for pairs that somebody else drew, and there they are ranked."""
    best = {"dpo_online": [0.0, 0.01, 0.02], "tpo": [0.1, 0.2, 0.15], "grpo": [0.5, 0.6, 0.55]}
    for offline, leader in ((False, "tpo"), (True, "dpo_online")):
        training = {**record_helpers.spec()["training"], **({"offline": True} if offline else {})}
        runs = [
            record_helpers.record(seed, error=error, changes={"algorithm": name, "training": training})
            for name, errors in best.items()
            for seed, error in enumerate(errors)
        ]
        (section,) = make_report(Results(tuple(runs))).sections
        (table,) = (t for t in section.tables if not t.folded and t.header[0] == "Algorithm")
        leaders = [row[0].text for row in table.rows if any(cell.leader for cell in row[1:2])]
        assert leaders == [leader]
        assert any("outside the ranking: dpo_online" in note for note in table.notes) is not offline
