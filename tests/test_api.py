"""In Python: docs/python.md runs as it stands, tables come in every form, and answers are those of the commands."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from record_helpers import record, write

import tpobench
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.errors import NothingToDo, UsageError
from tpobench.tables.exports import json_text

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
ROWS = [
    {"algorithm": name, "task": task, "seed": seed, "value": level + seed / 10}
    for name, level in (("tpo", 1.0), ("dg", 5.0))
    for task in ("copy", "flip")
    for seed in range(5)
]


def test_every_name_is_there_and_on_the_page():
    """`dir(tpobench)` lists it, it is no stub, and docs/python.md has every function; nothing else is promised."""
    for name in tpobench.__all__:
        assert getattr(tpobench, name) is not None
        assert name in dir(tpobench)
        assert name.isupper() or name in PAGE
    with pytest.raises(AttributeError, match="no attribute 'reports'"):
        _ = tpobench.reports


def test_importing_the_package_imports_no_library():
    """Neither torch nor numpy nor pandas, also when names are listed; a table is audited without torch."""
    code = (
        "import sys, tpobench; dir(tpobench); heavy = {'torch', 'numpy', 'pandas', 'scipy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "rows = [{'algorithm': a, 'task': 't', 'seed': s, 'value': s} for a in 'ab' for s in range(3)]\n"
        "tpobench.audit(rows, lower=True), tpobench.compare, tpobench.power, tpobench.report\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["audit", "league", "report"])
def test_a_package_is_also_the_function_of_its_name(name):
    """It can be called, has the function's signature, and its modules stay where they are."""
    from tpobench import api

    package = getattr(tpobench, name)
    assert package is sys.modules[f"tpobench.{name}"]
    assert inspect.signature(package) == inspect.signature(getattr(api, name))


@pytest.mark.slow
def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """Every block of Python in docs/python.md, from top to bottom, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
    names = {"__name__": "page"}
    try:
        exec(compile(code, "docs/python.md", "exec"), names)  # noqa: S102 - it is ours
    finally:
        ALGORITHMS.pop("over_best", None)
    printed = capsys.readouterr().out
    assert "walker: td3 has the best mean; better than ppo; not distinguishable from sac" in printed
    assert "leads 3 algorithms over 2 tasks" in printed
    assert "the table has no column 'seed'" in printed
    assert names["row"].verdict == "better"


def test_every_form_of_a_table_gives_the_numbers_of_its_file(tmp_path):
    """A list of rows, a DataFrame, one with an index, one with a column for each algorithm, and a CSV."""
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "x.csv", index=False)
    wide = frame.pivot_table(index=["task", "seed"], columns="algorithm", values="value")[["tpo", "dg"]]
    indexed = frame.set_index(["algorithm", "task", "seed"])
    outcomes = [
        {o.task: (o.finals, o.means, o.tests, o.leader, o.tied) for o in tpobench.compare(table, lower=True).outcomes}
        for table in (tmp_path / "x.csv", str(tmp_path / "x.csv"), ROWS, frame, indexed, wide)
    ]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    by_seed, means, tests, leader, tied = outcomes[0]["copy"]
    assert by_seed["tpo"] == {s: 1 + s / 10 for s in range(5)}
    assert (means["tpo"].value, leader, tied) == (pytest.approx(1.2), "tpo", ("tpo",))
    test = tests["tpo", "dg"]
    assert (test.verdict, test.comparison.difference) == ("better", pytest.approx(-4))
    assert test.comparison.p == pytest.approx(2 / 252)  # the two extreme of C(10, 5) labellings


def test_an_audit_is_what_the_command_prints(command_line, tmp_path):
    """The same document, from a file and from the same table in memory but for their names."""
    pd.DataFrame(ROWS).to_csv(tmp_path / "x.csv", index=False)
    ends = {"best": 0, "worst": {"copy": 10, "flip": 10}}
    _, out, _ = command_line(
        "audit", tmp_path / "x.csv", "--lower", "--best", "0", "--worst", "copy=10", "--worst", "flip=10",
        "--format", "json",
    )  # fmt: skip
    found = tpobench.audit(tmp_path / "x.csv", lower=True, **ends)
    assert json.loads(json_text(found.document())) == json.loads(out)
    rows = tpobench.audit(ROWS, lower=True, **ends)
    assert rows.verdicts == found.verdicts
    assert rows.overall.means["tpo"].value == pytest.approx(1 - 1.2 / 10)
    assert list(rows.frame().verdict) == ["better", "better"]


def test_missing_and_diverged_runs_of_a_frame():
    """NaN in a DataFrame is a run without a result, infinity one that diverged and scores the worst value."""
    frame = pd.DataFrame(ROWS).assign(value=lambda t: t.value.mask(t.index == 0, np.nan).mask(t.index == 1, np.inf))
    outcome = tpobench.audit(frame, lower=True, worst=9).outcomes[0]
    assert outcome.finals["tpo"] == {1: 9.0, 2: 1.2, 3: 1.3, 4: 1.4}


@pytest.mark.parametrize(
    ("table", "choices", "error", "words"),
    [
        ([], {}, NothingToDo, "the table has no rows"),
        (pd.DataFrame(ROWS).iloc[:0], {}, NothingToDo, "the table has no rows"),
        ([*ROWS, 3], {}, UsageError, "the table row 20: no mapping of columns to values"),
        ([{**ROWS[0], "value": "good"}], {}, UsageError, "the table row 0: value 'good' is no number"),
        (pd.concat([pd.DataFrame(ROWS)] * 2, axis=1), {}, UsageError, "two columns named 'algorithm'"),
        (ROWS, {"lower": False}, UsageError, "add --lower or --higher"),
        (ROWS, {"hihger": True}, UsageError, "unknown argument 'hihger'"),
        ("nowhere.csv", {}, UsageError, "cannot read nowhere.csv"),
    ],
)
def test_what_is_no_table_gets_one_line(table, choices, error, words):
    """What, where, and what would work."""
    with pytest.raises(error, match=re.escape(words)):
        tpobench.audit(table, **{"lower": True, **choices})


def test_two_sets_two_algorithms_and_what_is_neither(command_line, tmp_path):
    """The answers are those of `tpobench compare` and `power`, by path or by results."""
    for name, shift in (("before", 0.0), ("after", 0.2)):
        runs = {"tpo": 0.5, "grpo": 0.1}
        write(tmp_path / name, *(
            record(s, error=e + shift + s / 100, changes={"algorithm": a}) for a, e in runs.items() for s in range(6)
        ))  # fmt: skip
    before, after = str(tmp_path / "before"), str(tmp_path / "after")
    _, sets, _ = command_line("compare", before, after, "--json")
    assert json.loads(json_text(tpobench.compare(before, after).document())) == json.loads(sets)
    _, two, _ = command_line("compare", "tpo", "grpo", "--in", before, "--json")
    results = tpobench.load_results(before)
    assert json.loads(json_text(tpobench.compare(results, "tpo", "grpo").document())) == json.loads(two)
    _, seeds, _ = command_line("power", before, "--target", "0.1", "--json")
    assert json.loads(json_text(tpobench.power(results, target=0.1).document())) == json.loads(seeds)
    assert tpobench.league(results).track.leader == "grpo"
    with pytest.raises(UsageError, match="name two algorithms"):
        tpobench.compare(results)
    with pytest.raises(UsageError, match="higher: for a table of your own"):
        tpobench.power(results, higher=True)


def test_a_ranking_needs_ends_and_common_tasks():
    """Means 1.2 and 5.2 between 0 (best) and 10 score .88 and .48; 100 of 100 pairs of seeds are won."""
    ranks = tpobench.league(ROWS, lower=True, best=0, worst=10)
    assert {n: e.value for n, e in ranks.track.scores.items()} == pytest.approx({"tpo": 0.88, "dg": 0.48})
    assert (ranks.track.leader, ranks.tasks, ranks.left_out) == ("tpo", ("copy", "flip"), ())
    assert ranks.track.wins[0, 1] == 1.0
    assert list(ranks.frame().algorithm) == ["tpo", "dg"]
    fewer = tpobench.league(
        [r for r in ROWS if (r["algorithm"], r["task"]) != ("dg", "flip")], lower=True, best=0, worst=10
    )
    assert (fewer.tasks, fewer.left_out) == (("copy",), ("flip",))
    with pytest.raises(UsageError, match="copy, flip have no fixed ends; give best and worst"):
        tpobench.league(ROWS, lower=True)
    with pytest.raises(UsageError, match="a ranking needs two algorithms"):
        tpobench.league(ROWS[:10], lower=True, best=0, worst=10)


def test_answers_show_themselves():
    """Markdown in a notebook, the terminal's text by print, every other format by name, and none that is not there."""
    found = tpobench.audit(ROWS, lower=True)
    assert found._repr_markdown_() == found.text("md")
    assert found.text("md").startswith("# Audit of the table\n")
    assert str(found) == found.text("terminal")
    with pytest.raises(UsageError, match="unknown format 'markdown'"):
        found.text("markdown")
