"""What a check says: the table, JUnit XML, GitHub's commands and summary, JSON; and that all of them agree."""
# ruff: noqa: S314 - parses what this package has written

import datetime as dt
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from check_helpers import bench_fixture  # noqa: F401 - a fixture

from tpobench.check import outputs
from tpobench.check.arms import ArmKey
from tpobench.check.baseline import Baseline
from tpobench.check.evidence import GateCell
from tpobench.check.judgement import GateRow, Judgement
from tpobench.check.waivers import Waiver
from tpobench.stats.gate import MARGINS, CellEvidence, GatePlan, GateVerdict
from tpobench.tables.terminal import terminal


def row(rule, status, *, waiver=None, measure="final20", **fields):
    """One line of a judgement."""
    kind = "steps" if measure.startswith("steps") else "error"
    arm = ArmKey("ci", "length=4", "any", rule)
    evidence = CellEvidence(f"{arm.text} {measure}", {0: 0.5}, {0: 0.5}, MARGINS[kind])
    return GateRow(
        GateCell(arm, measure, evidence),
        GateVerdict(evidence.name, status, "confirm", **{"reason": "", **fields}),
        waiver,
    )


def judgement(*rows, **fields):
    """A judgement of some lines."""
    arms = {r.cell.arm: {0: type("Record", (), {"spec": {"suite_version": 1}})()} for r in rows}
    base = Baseline(Path("base.jsonl"), (), (0, 1, 2), (3, 4, 5), (), arms)
    return Judgement(rows, base, GatePlan(), MARGINS, version="0.1.0", **fields)


NUMBERS = {
    "old": 0.25, "new": 0.3125, "difference": 0.0625, "low": 0.03, "high": 0.09, "margin": 0.025, "p": 0.0009765625,
    "adjusted": 0.00390625, "family": 4, "test": "sign-flip", "hypothesis": "mean", "runs": (10, 10),
}  # fmt: skip
REGRESSED = row("tpo", "regressed", reason="difference +0.062, margin 0.025", **NUMBERS)
WAIVER = Waiver("length=4", "dg", dt.date(2999, 1, 1), "known")


# ---- the table


def test_the_table_holds_old_new_difference_interval_p_and_verdict():
    """One aligned line per changed cell; unchanged ones are a count; the signature ends it."""
    found = judgement(REGRESSED, row("dg", "unchanged", old=0.5, new=0.5), row("ppo", "unchanged"))
    lines = terminal(outputs.document_of(found)).splitlines()
    assert lines[0] == "REGRESSED: 3 cells compared: 1 regressed, 2 unchanged"
    assert lines[2].split()[:4] == ["suite", "cell", "algorithm", "measure"]
    assert lines[3].split(maxsplit=6)[:6] == ["ci", "length=4", "tpo", "final20", "0.25", "0.312"]
    assert "+0.062" in lines[3]
    assert "[+0.03, +0.09]" in lines[3]
    assert lines[3].split()[-3:] == [".00098", ".0039", "REGRESSED"]
    assert "2 unchanged: the same values" in lines[5]
    assert lines[-1].startswith("tpobench 0.1.0|baseline:base@")
    assert "|screen:0-2 at .05|confirm:3-5, holm at .05|" in lines[-1]
    assert "measures:3 (3 final)" in lines[-1]


def test_differences_of_logarithms_are_ratios():
    """Log 1.5 is x1.5."""
    numbers = {**NUMBERS, "old": 100.0, "new": 150.0, "difference": 0.405465, "low": 0.0, "high": 0.693147}
    line = row("tpo", "regressed", measure="steps0.1m3", **numbers)
    assert outputs.difference(line) == ("x1.5", "[x1, x2]")
    assert "ratio of geometric means" in terminal(outputs.document_of(judgement(line)))


@pytest.mark.parametrize(
    ("p", "text"), [(None, ""), (0.00005, "<.0001"), (0.0009765625, ".00098"), (0.05, ".05"), (1.0, "1")]
)
def test_p_values_are_short(p, text):
    """Two digits, nothing for no test."""
    assert outputs.p_text(p) == text


def test_the_worst_comes_first():
    """Regressed, broken, missing, unconfirmed, inconclusive, improved, ok."""
    statuses = ["ok", "improved", "inconclusive", "flagged", "not comparable", "incomplete", "crashed", "regressed"]
    found = judgement(*(row(f"r{n}", s, reason=f"why {n}") for n, s in enumerate(statuses)))
    assert [r.verdict.status for r in found.changed] == statuses[::-1]
    assert "UNCONFIRMED" in terminal(outputs.document_of(found))


def test_equal_reasons_stand_together():
    """One line, however many cells share it."""
    found = judgement(*(row(f"r{n}", "not comparable", reason="steps differ") for n in range(5)))
    assert found.reasons == [
        ("NOT COMPARABLE", "ci length=4 r0 final20, ci length=4 r1 final20 and 3 more", "steps differ")
    ]


# ---- exit codes


@pytest.mark.parametrize(
    ("statuses", "strict", "code"),
    [
        (["unchanged", "ok", "improved"], False, 0),
        (["ok", "inconclusive"], False, 0),
        (["ok", "inconclusive"], True, 7),
        (["ok", "improved"], True, 7),
        (["changed", "incomplete"], False, 1),
        (["redrawn", "unchanged"], True, 0),
        (["regressed", "inconclusive", "incomplete"], True, 1),
        (["ok", "crashed"], False, 3),
        (["ok", "incomplete"], False, 3),
        (["ok", "not comparable"], False, 3),
        (["ok", "flagged"], False, 3),
        (["incomplete", "not comparable"], False, 4),
        ([], False, 4),
    ],
)
def test_the_exit_code_is_that_of_the_worst(statuses, strict, code):
    """And nothing compared is never 0."""
    assert judgement(*(row(f"r{n}", s) for n, s in enumerate(statuses)), strict=strict).exit_code == code


def test_a_refused_set_up_is_exit_4():
    """Even though every cell looks fine."""
    found = judgement(row("tpo", "unchanged"), refusal="n=2: cannot reject; need 5 seeds")
    assert found.exit_code == 4
    assert found.headline == "NOTHING COMPARED: n=2: cannot reject; need 5 seeds"


def test_waivers_take_regressions_only():
    """What is missing or broken stays red."""
    assert judgement(row("dg", "regressed", waiver=WAIVER), row("tpo", "ok")).exit_code == 0
    assert judgement(row("dg", "crashed", waiver=WAIVER), row("tpo", "ok")).exit_code == 3
    assert judgement(row("dg", "incomplete", waiver=WAIVER), row("tpo", "ok")).exit_code == 3


# ---- JUnit XML


def test_junit_has_a_test_case_per_cell():
    """failure = regressed, skipped = inconclusive or waived, error = missing or broken; numbers as properties."""
    found = judgement(
        REGRESSED, row("dg", "regressed", waiver=WAIVER, reason="x"), row("ppo", "inconclusive", reason="40 seeds"),
        row("grpo", "incomplete", reason="missing"), row("ce", "crashed", reason="boom"), row("a", "unchanged"),
        row("b", "improved"), row("c", "flagged"), row("d", "not comparable"),
    )  # fmt: skip
    root = ET.fromstring(outputs.junit(found))
    (suite,) = root
    assert root.tag == "testsuites"
    counts = {k: int(suite.attrib[k]) for k in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 9, "failures": 1, "errors": 4, "skipped": 2}
    cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
    kinds = {name.split()[0]: [c.tag for c in case if c.tag != "properties"] for name, case in cases.items()}
    assert kinds == {
        "tpo": ["failure"], "dg": ["skipped"], "ppo": ["skipped"], "grpo": ["error"], "ce": ["error"], "a": [], "b": [],
        "c": ["error"], "d": ["error"],
    }  # fmt: skip
    tpo = cases["tpo final20"]
    assert tpo.attrib["classname"] == "tpobench.ci.length=4"
    properties = {p.attrib["name"]: p.attrib["value"] for p in tpo.iter("property")}
    assert (properties["difference"], properties["p_adj"], properties["candidate_runs"]) == (
        "0.0625",
        "0.00390625",
        "10",
    )
    assert tpo.find("failure").attrib["message"] == "difference +0.062, margin 0.025"
    assert "waived until 2999-01-01" in cases["dg final20"].find("skipped").attrib["message"]


def test_junit_survives_any_reason():
    """Markup, quotes and characters that XML forbids."""
    reason = 'a < b & "c" \x00 \x1b[31m \ud800 ]]>'
    root = ET.fromstring(outputs.junit(judgement(row("tpo", "regressed", reason=reason))))
    message = root.find(".//failure").attrib["message"]
    assert message == r'a < b & "c" \u0000 \u001b[31m \ud800 ]]>'


def test_a_check_that_was_not_made_is_an_error_in_junit():
    """Also one without cells: a dashboard must not show it as absent or green."""
    for text in (outputs.junit_of_error("no baseline at b.jsonl", "NothingToDo"), outputs.junit(judgement())):
        (suite,) = ET.fromstring(text)
        assert (suite.attrib["tests"], suite.attrib["errors"], suite.attrib["failures"]) == ("1", "1", "0")
        assert len(list(suite.iter("error"))) == 1


# ---- GitHub


def test_github_commands_are_escaped_by_its_rules():
    """`%`, CR and LF in both; `:` and `,` in properties only (actions/toolkit, command.ts)."""
    assert outputs.command("error", "a: 50%, b", "c: 50%,\r\nd") == "::error title=a%3A 50%25%2C b::c: 50%25,%0D%0Ad"


def test_only_regressed_cells_are_annotated_and_ten_at_most():
    """GitHub shows no more of one step: the tenth names the rest."""
    assert outputs.github_commands(judgement(row("a", "crashed"), row("b", "regressed", waiver=WAIVER))) == []
    few = [row(f"r{n:02}", "regressed", reason="why") for n in range(10)]
    assert len(outputs.github_commands(judgement(*few))) == 10
    lines = outputs.github_commands(judgement(*few, row("r10", "regressed", reason="why"), row("r11", "regressed")))
    assert len(lines) == 10
    assert lines[0] == "::error title=tpobench%3A ci length=4 r00 final20 regressed::why"
    assert lines[-1].startswith(
        "::error title=tpobench%3A 3 more cells regressed::ci length=4 r09 final20: why%0Aci length=4 r10"
    )


def test_the_summary_shows_changes_and_folds_the_rest():
    """Verdict, changed cells, reasons, all cells folded, signature; no markup of the data gets through."""
    found = judgement(REGRESSED, row("dg", "unchanged"), row("x|y<b>", "ok", reason="[l](u) *e*"), notes=("a_b _c_",))
    text = outputs.summary(found)
    assert text.startswith("## tpobench check: REGRESSED: 3 cells compared")
    assert text.count("**REGRESSED** |") == 2  # changed, and all
    assert "<details><summary>All cells</summary>\n\n| suite |" in text
    assert r"x\|y\<b>" in text
    assert r"[l\](u) \*e\*" in text
    assert r"> a_b \_c\_" in text
    assert text.rstrip().endswith("`" + found.signature + "`")


def test_the_summary_never_exceeds_what_github_takes():
    """1 MiB: the folded table goes first, then the tail of the changes; verdict and signature stay."""
    small = judgement(*(row(f"r{n}", "unchanged") for n in range(200)), REGRESSED)
    text = outputs.summary(small, most_bytes=8000)
    assert len(text.encode()) <= 8000
    assert "REGRESSED | " not in text
    assert "difference +0.062" in text
    assert "too long for a step summary" in text
    many = judgement(*(row(f"r{n}", "regressed", reason="é" * 2000) for n in range(1000)))
    text = outputs.summary(many)
    assert len(text.encode()) <= 1_000_000
    assert text.startswith("## tpobench check: REGRESSED")
    assert text.rstrip().endswith("`" + many.signature + "`")


# ---- JSON


def test_json_holds_everything_at_full_precision():
    """The same verdicts as the table, and the family they were tested in."""
    found = judgement(REGRESSED, row("dg", "regressed", waiver=WAIVER), strict=True)
    answer = json.loads(json.dumps(outputs.as_json(found), allow_nan=False))
    assert (answer["schema"], answer["exit_code"], answer["outcome"]) == (1, 1, "regressed")
    assert answer["family"] == {"cells": 2, "final": 2}
    first, second = answer["cells"]
    assert {k: first[k] for k in ("suite", "cell", "rule", "measure", "p")} == {
        "suite": "ci", "cell": "length=4", "rule": "tpo", "measure": "final20", "p": 0.0009765625,
    }  # fmt: skip
    assert (second["waived"], second["waiver"]) == (True, {"until": "2999-01-01", "reason": "known"})
    assert answer["margins"]["error"] == {"floor": 0.01, "relative": 0.1, "logarithmic": False, "told": 3.2}


# ---- the command writes them


def test_files_and_streams_of_a_regression(bench, monkeypatch):
    """JUnit and summary to files, commands and progress to stderr, one JSON object to stdout."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(bench.folder / "step.md"))
    (bench.folder / "step.md").write_text("before\n", encoding="utf-8")
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    code, out, err = bench.check("--json", "--junit", "out/junit.xml")
    assert code == 1
    assert json.loads(out)["exit_code"] == 1
    assert [line.split("::")[1] for line in err.splitlines() if line.startswith("::")] == [
        "error title=tpobench%3A tiny tpo final2 regressed", "error title=tpobench%3A tiny tpo steps0.5m1 regressed",
    ]  # fmt: skip
    assert ET.parse(bench.folder / "out" / "junit.xml").getroot()[0].attrib["failures"] == "2"
    summary = (bench.folder / "step.md").read_text(encoding="utf-8")
    assert summary.startswith("before\n## tpobench check: REGRESSED")


def test_people_read_shares_in_percent_and_scripts_from_0_to_1(bench, monkeypatch):
    """Tables, reasons, JUnit's messages, annotations and the summary against JSON and CSV; steps are steps in all."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.25
    outs = {name: bench.check("--format", name, "--junit", "j.xml", "--summary", f"{name}.md", "--margin", "error=0.1")
            for name in ("terminal", "md", "latex", "html", "csv", "json")}  # fmt: skip
    rows = {line.split()[3]: line for line in outs["terminal"][1].splitlines() if line.startswith("tiny")}
    assert rows["final2"].split()[4:8] == ["(%)", "30.4", "55.4", "+25"]
    assert rows["steps0.5m1"].split()[4:7] == ["2", "4", "x2"]
    for name in ("md", "latex", "html"):
        assert "55.4" in outs[name][1]
        assert "0.554" not in outs[name][1]
    said = "difference +25 percentage points, margin 10 ("
    for text in (outs["md"][1], outs["json"][2], (bench.folder / "md.md").read_text(encoding="utf-8")):
        assert said in text
    (failure,) = [f for f in ET.parse(bench.folder / "j.xml").iter("failure") if "final2" in f.text]
    assert failure.attrib["message"].startswith(said)
    (cell,) = [c for c in json.loads(outs["json"][1])["cells"] if c["measure"] == "final2" and c["rule"] == "tpo"]
    assert (cell["new"], cell["reason"].split("-")[0]) == (
        pytest.approx(0.554, abs=1e-3), "difference +0.25, margin 0.1 (sign"
    )  # fmt: skip
    assert f",{cell['new']}," in outs["csv"][1]


def test_what_is_no_share_is_shown_as_it_is():
    """A reward of 120 is 120, also in words."""
    numbers = {**NUMBERS, "old": 120.0, "new": 1234.5, "difference": 120.0, "low": 100.0, "high": 140.0}
    assert [c.text for c in outputs.cells_of(row("tpo", "ok", **numbers))][3:8] == [
        "final20", "120", "1230", "+120", "[+100, +140]",
    ]  # fmt: skip


def test_outside_github_nothing_is_annotated_or_written(bench):
    """A terminal gets the table."""
    bench.baseline()
    bench.quality["tpo"] = lambda _: 0.3
    before = set(bench.folder.iterdir())
    _, out, err = bench.check()
    assert "::error" not in out + err
    assert set(bench.folder.iterdir()) == before
    bench.check("--summary", "mine.md")
    assert (bench.folder / "mine.md").read_text(encoding="utf-8").startswith("## tpobench check")


def test_an_error_is_seen_in_every_output(bench):
    """No baseline: exit 4, an error in JUnit, and a line in the summary."""
    code, _, err = bench.check("--junit", "j.xml", "--summary", "s.md")
    assert code == 4
    assert "no baseline at base.jsonl; make one with: tpobench baseline update" in err
    assert ET.parse(bench.folder / "j.xml").getroot()[0].attrib["errors"] == "1"
    assert "no baseline at base.jsonl" in (bench.folder / "s.md").read_text(encoding="utf-8")


def test_what_cannot_be_written_is_exit_6(bench):
    """A folder in the way, or a file where a folder should be: said before anything is trained."""
    bench.baseline()
    (bench.folder / "taken").mkdir()
    for option in ("--junit", "--summary"):
        for path, why in (("taken", "taken is a folder"), ("base.jsonl/x", "base.jsonl is a file")):
            code, _, err = bench.check(option, path)
            assert (code, err) == (6, f"tpobench: cannot write {path}: {why}\n")
    assert bench.trained == []
