"""Tables of any form are read or refused in one line: wide, tidy, JSON, one file per algorithm or seed, summaries."""

import gzip
import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_audit import call

from tpobench.audit import Choices, audit, audit_document
from tpobench.cli import main
from tpobench.errors import NothingToDo, TpobenchError, UsageError
from tpobench.tables.exports import json_text
from tpobench.tables.markdown import markdown

FOUR = [("A", "t", 0, 1.5), ("A", "t", 1, 2.5), ("B", "t", 0, 3.0), ("B", "t", 1, 4.0)]
LONG = "algorithm,task,seed,return\n" + "".join(f"{a},{t},{s},{v}\n" for a, t, s, v in FOUR)
RECORDS = [{"algorithm": a, "task": t, "seed": s, "return": v} for a, t, s, v in FOUR]


@pytest.fixture
def files(tmp_path):
    """Writes files and audits them all, or some arguments; values are text, bytes, or what JSON can hold."""

    def make(content, *arguments, **choices):
        for name, what in content.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = what if isinstance(what, str | bytes) else json.dumps(what)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return audit([tmp_path / a for a in arguments or content], Choices(**choices))

    return make


def values(found):
    return [(r.algorithm, r.task, r.record.spec["seed"], r.value) for r in found.runs.runs]


def refusal(files, *arguments, error=UsageError, **choices):
    with pytest.raises(error) as caught:
        files(*arguments, **choices)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Columns that lie side by side


@pytest.mark.parametrize("heads", ["seed_0,seed_1", "seed0,seed1", "s0,s1", "0,1", "run_0,run_1", "Seed 0,Seed 1"])
def test_a_column_per_seed_is_read(files, heads):
    """The heads of the columns are the seeds, and the output says so."""
    found = files({"x.csv": f"algorithm,task,{heads}\nA,t,1.5,2.5\nB,t,3,4\n"}, higher=True)
    assert values(found) == FOUR
    assert f"seed from the heads of columns {heads.replace(',', ', ')}" in markdown(audit_document(found))


def test_a_column_per_algorithm_or_per_task_is_read(files):
    """Whichever of the two no column names."""
    found = files({"x.csv": "dataset,seed,A,B\nt,0,1.5,3\nt,1,2.5,4\n"}, higher=True)
    assert sorted(values(found)) == FOUR
    assert "algorithm from the heads of columns A, B" in found.sheet.sources
    found = files({"x.csv": "agent,seed,pong,breakout\nA,0,1,2\n"}, higher=True)
    assert values(found) == [("A", "pong", 0, 1.0), ("A", "breakout", 0, 2.0)]


def test_wide_tables_may_have_steps(files):
    """A curve in each column: the last of ten rows is the value."""
    rows = "".join(f"t,{s},{step},{step + s},{2 * step}\n" for s in (0, 1) for step in range(10))
    found = files({"x.csv": "task,seed,step,A,B\n" + rows}, higher=True)
    assert sorted(values(found)) == [("A", "t", 0, 9.0), ("A", "t", 1, 10.0), ("B", "t", 0, 18.0), ("B", "t", 1, 18.0)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("algorithm,task,mean,std\nA,t,0.5,0.1\n", "(columns mean and std): it has no seeds"),
        ("algorithm,task,avg_return,return_std\nA,t,0.5,0.1\n", "(columns avg_return and return_std): it has no seeds"),
        ("dataset,A,B\nt,0.81 ± 0.02,0.7 ± 0.1\n", "('0.81 ± 0.02'): it has no seeds"),
        ("algorithm,task,score\nA,t,0.81 (0.02)\n", "('0.81 (0.02)'): it has no seeds"),
        ("algorithm,task,score\nA,t,81.2% +/- 0.2%\n", "('81.2% +/- 0.2%'): it has no seeds"),
        ("algorithm,task,seed,score\nA,t,0,0.81 (0.02)\n", "value '0.81 (0.02)' is a mean with its deviation;"),
        ("task,seed,budget,A,B\nt,0,100,1,2\n", "budget is no algorithm; name the column with --column"),
        ("task,seed,train_loss,test_loss\nt,0,1,2\n", "train_loss is no algorithm"),
        ("seed,A,B\n0,1,2\n", "columns A, B may each be an algorithm or a task; add the column that is missing"),
        ("algorithm,task,0,1000,2000\nA,t,1,2,3\n", "columns 0, 1000, 2000 may be seeds or something else"),
        ("algorithm,task,seed_0,run_1\nA,t,1,2\n", "columns seed_0, run_1 may be seeds or something else"),
        ("task,seed,Algo name,A,B\nt,0,x,1,2\n", "has no column 'algorithm' (it has task, seed, Algo name, A, B)"),
    ],
)  # fmt: skip
def test_what_is_no_wide_table_is_refused(files, text, line):
    """A table of means has no seeds; a column that may be several things is named."""
    assert line in refusal(files, {"x.csv": text}, higher=True)


# Columns of metrics, names of several columns


TIDY = "algorithm,task,seed,metric,value\n" + "".join(
    f"{a},t,{s},avg_return,{v}\n{a},t,{s},avg_length,high\n" for a, _, s, v in FOUR
)


@pytest.mark.parametrize("head", ["metric", "measure", "variable"])
def test_a_column_that_names_metrics_is_a_filter(files, head):
    """Only the rows of the metric that is asked for are read, and it says which way is better."""
    found = files({"x.csv": TIDY.replace("metric", head)}, metric="avg_return")
    assert (values(found), found.runs.scale.metric, found.runs.scale.lower) == (FOUR, "avg_return", False)


def test_several_metrics_ask_which(files):
    """The line lists them; an unknown one is refused; a second spelling is said."""
    assert refusal(files, {"x.csv": TIDY}).endswith("choose one with --metric: avg_length, avg_return")
    assert "unknown metric 'avg_retrun'" in refusal(files, {"x.csv": TIDY}, metric="avg_retrun")
    found = files({"x.csv": TIDY.replace("A,t,1,avg_return", "A,t,1,Avg_Return")}, metric="avg_return")
    assert [f.what for f in found.checks.findings if f.code.code == "L029"] == ["metrics Avg_Return and avg_return look like one"]  # noqa: E501  # fmt: skip


def test_several_columns_make_one_name(files):
    """function and dimension are the task; 2 and 2.0 are one dimension; parts that could be mistaken are refused."""
    text = "opt,function,dimension,seed,loss\n" + "".join(
        f"{a},{f},{d},{s},{s}\n"
        for a, d in (("DE", "2"), ("CMA", "2.0"))
        for f in ("sphere", "cigar")
        for s in range(4)
    )
    chosen = ("algorithm=opt", "task=function,dimension")
    found = files({"x.csv": text}, columns=chosen)
    assert (found.runs.tasks, len(found.runs.runs)) == (("sphere/2", "cigar/2"), 16)
    assert "task from columns function, dimension" in found.sheet.sources
    assert "unknown column 'dim'" in refusal(files, {"x.csv": text}, columns=("algorithm=opt", "task=function,dim"))
    mistaken = "opt,function,dimension,seed,loss\nDE,a/b,c,0,1\nDE,a,b/c,1,1\n"
    assert "'a/b/c' is also made of other parts" in refusal(files, {"x.csv": mistaken}, columns=chosen)
    empty = "opt,function,dimension,seed,loss\nDE,a,,0,1\n"
    assert refusal(files, {"x.csv": empty}, columns=chosen).endswith("line 2: no dimension")


# JSON


@pytest.mark.parametrize(
    "content",
    [
        RECORDS,
        {"results": RECORDS, "version": 1},
        "\n".join(map(json.dumps, RECORDS)),
        {k: [r[k] for r in RECORDS] for k in RECORDS[0]},
        {k: {str(i): r[k] for i, r in enumerate(RECORDS)} for k in RECORDS[0]},
        {str(i): r for i, r in enumerate(RECORDS)},
        {"columns": list(RECORDS[0]), "index": [0, 1, 2, 3], "data": [list(r.values()) for r in RECORDS]},
        {"schema": {"fields": []}, "data": RECORDS},
        gzip.compress(json.dumps(RECORDS).encode(), mtime=0),
    ],
    ids=["records", "within an object", "lines", "columns", "pandas", "index", "split", "table", "gzip"],
)
def test_json_is_read(files, content):
    """An array of records, JSON lines, columns, and what pandas writes."""
    assert values(files({"x.json": content})) == FOUR


def test_json_null_is_missing_and_nan_is_diverged(files):
    """As an empty cell and as nan in a table; numbers keep their spelling, so 0 and 0.0 are one seed."""
    rows = [*RECORDS[:2], {**RECORDS[0], "seed": 2, "return": None}, {**RECORDS[0], "seed": 3, "return": float("nan")}]
    found = files({"x.json": rows}, worst=("0",))
    runs = [(1.5, "ok"), (2.5, "ok"), (None, "failed"), (0.0, "diverged")]
    assert [(r.value, r.record.status) for r in found.runs.runs] == runs
    assert "(written '0' and '0.0')" in refusal(files, {"x.json": [RECORDS[0], {**RECORDS[0], "seed": 0.0}]})


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[" * 100_000 + "]" * 100_000, "JSON that is nested too deeply for a table"),
        ('[{"a":' * 50_000, "JSON that is nested too deeply for a table"),
        ('[{"a": 1,]', "line 1: no JSON"),
        ('{"a": 1}\n{"a":\n', "line 2: no JSON"),
        ('{"a": 1}\n[2]\n', "line 2: no record; write one object per line"),
        ('[{"seed": 1, "seed": 2}]', "a record has two values named 'seed'; keep one"),
        ("[1, 2]", "no table; write an array of records"),
        ({"a": [1, 2], "b": [1]}, "column 'b' has 1 values, 'a' has 2"),
        ({"a": RECORDS, "b": RECORDS}, "a, b could each be the table"),
        ({"a": {"x": 1}, "b": {"x": 2}}, "an object of objects does not say which are the rows"),
        ({"columns": ["a", "b"], "data": [[1]]}, "record 1: not as many values as there are columns (2)"),
        ([{**RECORDS[0], "return": "9" * 6000}], "is too large to average"),
        ('[{"algorithm": "A", "task": "t", "seed": 0, "return": ' + "9" * 6000 + "}]", "is too large to average"),
        ([{**RECORDS[0], "return": [1, 2, 3]}], """record 1: value '["1", "2", "3"]' is no number"""),
        ([{**RECORDS[0], "return": True}], "record 1: value 'true' is no number"),
        ([{"schema": 1, "id": "x", "spec": {}, "status": "ok"}], "is tpobench's own: use `tpobench report`"),
        ({"schema": 1, "tpobench": "0.1.0", "runs": RECORDS}, "is tpobench's own: use `tpobench report`"),
    ],
)  # fmt: skip
def test_json_that_is_no_table_gets_one_line(files, content, line):
    """Garbage, depth, size, and tpobench's own files."""
    assert line in refusal(files, {"x.json": content})


def test_an_empty_list_of_records_is_nothing_to_audit(files):
    """Exit code 4, as an empty table."""
    assert "no records: nothing to audit" in refusal(files, {"x.json": "[]"}, error=NothingToDo)


# Numbers, dialects


@pytest.mark.parametrize(
    ("cells", "separator", "expected"),
    [
        (["0,5", "1.234,5"], ";", [0.5, 1234.5]),
        (["0.5", "1,234.5"], ";", [0.5, 1234.5]),
        (['"1,234"', "0.5"], ",", [1234.0, 0.5]),
        (["1,234", "2,5"], "\t", [1.234, 2.5]),
        (["1 234,5", "2,5"], ";", [1234.5, 2.5]),
        (["1'234.5", "-1,234,567"], "\t", [1234.5, -1234567.0]),
        (["1\u00a0234", "\u22120.5"], ",", [1234.0, -0.5]),
        (["81 %", "82.5%"], ",", [81.0, 82.5]),
    ],
)
def test_numbers_are_read_as_they_are_written(files, cells, separator, expected):
    """Decimal commas, thousands, percent, a typographic minus."""
    head = "algorithm,task,seed,return\n".replace(",", separator)
    rows = "".join(separator.join(["A", "t", str(s), cell]) + "\n" for s, cell in enumerate(cells))
    found = files({"x.csv": head + rows})
    assert [r.value for r in found.runs.runs] == expected
    assert ("in percent" in markdown(audit_document(found))) is ("%" in rows)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("algorithm;task;seed;return\nA;t;0;0.5\nA;t;1;0,5\n",
         "'0.5' (line 2) has a decimal point and '0,5' (line 3) a decimal comma; write all in one way"),
        ("algorithm\ttask\tseed\treturn\nA\tt\t0\t1,234\n",
         "'1,234' (line 2) may have a decimal comma or a thousand; write it without the comma"),
        ('algorithm,task,seed,return\nA,t,0,"0,123"\n', "line 2: value '0,123' is no number"),
        ("algorithm,task,seed,return\nA,t,0,81%\nA,t,1,0.8\n", "line 2 has a value in percent, "),
        ('algorithm,task,seed,return\nA,"t"x,0,1\n', "line 2: text after a closing quote"),
        ('algorithm,task,seed,return\nA,t,0,"' + "1" * 200_000 + '"\n', "line 2: field larger than field limit"),
    ],
)  # fmt: skip
def test_numbers_that_may_be_two_are_refused(files, text, line):
    """Never a factor of a thousand by a guess."""
    assert line in refusal(files, {"x.csv": text})


def test_excels_separator_line_and_trailing_separators_are_no_data(files):
    """`sep=;` above the header, and a separator at the end of each row."""
    assert values(files({"x.csv": "sep=;\r\n" + LONG.replace(",", ";").replace("\n", ";\r\n")})) == FOUR


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (gzip.compress(LONG.encode() * 99, mtime=0)[:60], "a gzip file that breaks off"),
        (b"\x1f\x8bnonsense", "a damaged gzip file"),
    ],
)
def test_a_damaged_gzip_file_gets_one_line(files, content, line):
    """Whole ones are read, of several members too."""
    assert line in refusal(files, {"x.csv.gz": content})
    two = gzip.compress(LONG[:40].encode()) + gzip.compress(LONG[40:].encode())
    assert values(files({"y.csv.gz": two})) == FOUR


# Several files, folders


def curve(start):
    return "step,return\n" + "".join(f"{t},{start + t}\n" for t in range(20))


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["ppo/seed_{}.csv", "sac/seed_{}.csv"], "all"),
        (["ppo_walker_{}.csv", "sac_walker_{}.csv"], "walker"),
        (["ppo/walker/{}/progress.csv", "sac/walker/{}/progress.csv"], "walker"),
        (["ppo/walker/run-{}.csv", "sac/walker/run-{}.csv"], "walker"),
        (["ppo_walker_seed_{}.csv", "sac_walker_seed_{}.csv"], "walker"),
        (["ppo/{}/progress.csv", "sac/{}/progress.csv"], "all"),
    ],
)
@pytest.mark.parametrize("folder", [True, False])
def test_names_that_no_column_gives_are_those_of_the_path(files, names, task, folder):
    """Algorithm, task and seed in this order, whether the folder is given or its files; the output says so."""
    content = {f"runs/{name.format(s)}": curve(10 * i + s) for i, name in enumerate(names) for s in range(3)}
    found = files(content, *(["runs"] if folder else []))
    expected = [(a, task, s, 10 * i + s + 18.5) for i, a in enumerate(("ppo", "sac")) for s in range(3)]
    assert sorted(values(found)) == expected
    text = markdown(audit_document(found))
    assert "algorithm from the paths, such as 'ppo' of" in text
    assert json.loads(json_text(audit_document(found)))["names"] == list(found.sheet.sources)


def test_one_file_per_algorithm_takes_the_rest_from_its_columns(files):
    """Names in a column come before those of the path."""
    content = {
        f"{a}.csv": "task,seed,return\n" + "".join(f"t,{s},{v}\n" for b, _, s, v in FOUR if b == a) for a in "AB"
    }
    assert values(files(content)) == FOUR
    named = {"x.csv": LONG, "y.csv": LONG.replace("A,", "C,").replace("B,", "D,")}
    assert [r.algorithm for r in files(named).runs.runs] == [*"AABBCCDD"]


def test_a_folder_is_read_once_and_without_hidden_files(files):
    """What is named twice is read once; files of other kinds are left alone."""
    content = {"d/x.csv": LONG, "d/.hidden.csv": "nonsense", "d/notes.txt": "nonsense", "d/.git/y.csv": "nonsense"}
    assert values(files(content, "d", "d/x.csv")) == FOUR
    assert "no table (.csv, .tsv" in refusal(files, {"e/notes.txt": ""}, "e", error=NothingToDo)


@pytest.mark.parametrize("name", ["nothing.csv", "x" * 5000, "/dev/zero"])
def test_what_is_no_file_gets_one_line(files, name):
    """Not there, a name that no file can have, a device that never ends."""
    assert refusal(files, {}, name).startswith("cannot read ")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"x.csv": LONG, "y.csv": LONG}, "x.csv line 2 and"),
        ({"x.csv": LONG, "y.csv": LONG.replace("return", "loss")}, "y.csv of loss; choose one with --metric"),
        ({"x.csv": LONG, "y.csv": "algorithm,task,seed,step,return\nC,t,0,1,1\n"}, "x.csv has none; name it with"),
        ({"walker_ppo_3.csv": curve(0), "walker_sac_3.csv": curve(0)}, "'ppo' is an algorithm; add columns"),
        ({"ppo_x_1.csv": curve(0), "ppo_y_z_2.csv": curve(0)},
         "no column gives algorithm and task, and the pieces of the path do not either (ppo, y, z); add columns"),
        ({"ppo.csv": curve(0), "sac.csv": curve(0)}, "no column gives the seed, and the path has none"),
        ({"ppo_seed1_run2.csv": curve(0), "sac_seed1_run2.csv": curve(0)},
         "no column gives the seed, and the path has several numbers that could be it (1, 2)"),
        ({"a.csv": LONG.replace("algorithm", "Algo name"), "b.csv": LONG.replace("algorithm", "Algo name")},
         "a.csv has no column 'algorithm' (it has Algo name, task, seed, return)"),
        ({"x.csv": LONG.replace("algorithm,", ",")}, "x.csv has no column 'algorithm'"),
    ],
)  # fmt: skip
def test_names_that_are_not_sure_are_refused(files, content, line):
    """Two rows of one run, two metrics, an order that is not the documented one, a column under another name."""
    assert line in refusal(files, content)


def test_a_number_in_a_path_is_the_seed_only_where_the_column_agrees(files):
    """sphere_2 and cigar_10 are two tasks whose seeds are in a column; ppo_3 holds seed 3 alone."""
    table = "algorithm,seed,return\nA,0,1\nA,1,2\nB,0,3\nB,1,4\n"
    assert files({"sphere_2.csv": table, "cigar_10.csv": table}).runs.tasks == ("sphere_2", "cigar_10")
    content = {f"{a}_{s}.csv": f"task,seed,return\nt,{s},{s}\n" for a in ("ppo", "sac") for s in (3, 4)}
    assert sorted(set(files(content).runs.algorithms)) == ["ppo", "sac"]


def test_the_verb_takes_several_files_and_folders(tmp_path):
    """One line and exit code 2 where it cannot."""
    for a in ("ppo", "sac"):
        for s in range(10):
            path = tmp_path / "runs" / a / f"seed_{s}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(curve(s + 0.37 * s * s), encoding="utf-8")
    code, text = call(tmp_path / "runs")
    assert (code, text.splitlines()[0]) == (0, "# Audit of runs")
    assert "20 runs of 2 algorithms on 1 tasks" in text
    assert "20 runs of 2 algorithms" in call(tmp_path / "runs" / "ppo", tmp_path / "runs" / "sac")[1]
    assert "20 runs of 2 algorithms" in call(tmp_path / "runs" / "ppo", *(tmp_path / "runs" / "sac").iterdir())[1]


# Anything


CELLS = st.one_of(
    st.sampled_from(
        ["", "nan", "inf", "-", "1", "1.0", "01", "1,5", "81%", "0.8 ± 0.1", "seed_1", "PPO", "ppo", "1e999"]
    ),
    st.floats(allow_nan=True).map(str), st.integers().map(str), st.text(max_size=8),
)  # fmt: skip
HEADS = st.sampled_from(
    ["algorithm", "task", "seed", "value", "step", "metric", "return", "loss", "seed_0", "seed_1", "0", "A", "mean",
     "std", ""]
)  # fmt: skip
TABLES = st.lists(HEADS, min_size=1, max_size=7, unique=True).flatmap(
    lambda head: st.tuples(st.just(head), st.lists(st.lists(CELLS, min_size=len(head), max_size=len(head)), max_size=8))
)
CHOICES = st.builds(
    Choices,
    higher=st.booleans(), metric=st.sampled_from([None, "return", "loss", "x"]), paired=st.booleans(),
    worst=st.sampled_from([(), ("0",), ("t=1",)]), best=st.sampled_from([(), ("1e3",)]),
    window=st.sampled_from([None, 1, 10**9]),
    columns=st.sampled_from([(), ("task=task,seed",), ("algorithm=metric",), ("value=A", "step=0")]),
)  # fmt: skip
ANYTHING = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def audited(path, content, choices):
    """Either an audit, both of whose forms can be written, or an error of the project in one line."""
    path.write_bytes(content)
    try:
        found = audit(path, choices)
        texts = [markdown(audit_document(found)), json_text(audit_document(found))]
    except TpobenchError as error:
        code, texts = error.exit_code, [str(error)]
    else:
        code = 0
    assert (code, "\n" in texts[0]) in {(0, True), (2, False), (4, False)}
    assert all(text.encode() for text in texts)


@ANYTHING
@given(content=st.binary(max_size=200), choices=CHOICES)
def test_any_bytes_are_an_audit_or_one_line(tmp_path, content, choices):
    """No traceback, whatever the file holds."""
    audited(tmp_path / "x.csv", content, choices)
    audited(tmp_path / "x.csv", b"\x1f\x8b" + content, choices)
    audited(tmp_path / "x.csv", b"[{" + content, choices)


@settings(ANYTHING, max_examples=15)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        TABLES.map(lambda t: "\n".join(",".join(r) for r in [t[0], *t[1]]).encode("utf-8", "replace")),
    )
)
def test_the_command_ends_with_an_exit_code_of_its_own(tmp_path, monkeypatch, content):
    """0, 2, 3 or 4 whatever the file holds; 70 is a mistake of ours."""
    (tmp_path / "x.csv").write_bytes(content)
    monkeypatch.setattr("sys.argv", ["tpobench", "audit", str(tmp_path / "x.csv"), "--higher", "--worst", "0"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in {0, 2, 3, 4}


@ANYTHING
@given(table=TABLES, separator=st.sampled_from(",;\t"), choices=CHOICES)
def test_any_table_is_an_audit_or_one_line(tmp_path, table, separator, choices):
    """Every mixture of heads and cells, quoted or not, as text and as JSON."""
    head, rows = table
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [head, *rows]]
    audited(tmp_path / "x.csv", "\n".join(quoted).encode(), choices)
    bare = [
        separator.join(cell.translate({ord(c): "" for c in string.whitespace}) for cell in row) for row in [head, *rows]
    ]
    audited(tmp_path / "x.csv", "\n".join(bare).encode(), choices)
    audited(tmp_path / "x.csv", json.dumps([dict(zip(head, row, strict=True)) for row in rows]).encode(), choices)
