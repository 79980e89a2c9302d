"""Every nested field of a record that anyone reads is checked where it is read: an odd record is set aside, alone."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hostile_values import REMOVED, mutants, replaced
from hypothesis import given, settings
from hypothesis import strategies as st
from record_helpers import REPORTING, SUITE, command, record, spec, write

from tpobench.check.baseline import new_baseline
from tpobench.comparison import compare_algorithms
from tpobench.errors import TpobenchError
from tpobench.execution.assemble import assemble
from tpobench.identity import canonical, spec_id, text_id
from tpobench.limits import LARGEST
from tpobench.lint import ResultSet, lint_sets
from tpobench.planning.plan import RunSpec
from tpobench.records.merge import Located, Source, unite
from tpobench.records.results import Results
from tpobench.records.store import DamagedRecord, damaged_in, load_packed, parse_record, sources
from tpobench.report import render_markdown

RESULTS = Path(__file__).parent.parent / "results"
SCORED = {**REPORTING, "persist": 1, "solved": 0.05}
ORIGIN = {"seed_scheme": "philox/1", "git": "abc", "torch": "2", "data": {"x": {"sha256": "ab", "verified": True}}}
TASK = {"kind": "sequence", "prompts": 3, "candidates": 4, "length": 2}
RUNS = [
    record(
        seed, error=0.1 + 0.01 * seed, changes={"algorithm": rule, "task": TASK, "cell": {"length": 2}},
        reporting=SCORED, provenance=ORIGIN, facts={"initial_success": 0.25}, cost={"wall_s": 1.0, "cpu_s": 1.0},
        counts={"interactions": 4, "gradient_steps": 1},
    )
    for rule in ("tpo", "grpo") for seed in range(3)
]  # fmt: skip


def line_of(raw):
    """The line of an altered record under the id of its spec."""
    return json.dumps(raw if not isinstance(raw.get("spec"), dict) else {**raw, "id": spec_id(raw["spec"])})


ODD = [
    ("reporting/window", REMOVED, "reporting.window is missing"),
    ("reporting/window", 0, "reporting.window is 0"),
    ("reporting/thresholds", "x", "reporting.thresholds is 'x'"),
    ("reporting/thresholds", [None], "reporting.thresholds is [None]"),
    ("reporting/worst", None, "reporting.worst is None"),
    ("reporting/metric", "loss", "curve.loss is missing"),
    ("reporting/persist", True, "reporting.persist is True"),
    ("reporting/search", {"axis": 1}, "reporting.search is {'axis': 1}"),
    ("reporting/title", ["x"], "reporting.title is ['x']"),
    ("curve/step", REMOVED, "curve.step is missing"),
    ("curve/step", [1, 0], "curve.step is no column of integers that rise"),
    ("curve/step", [0, 1.5], "curve.step is no column of integers that rise"),
    ("curve/interactions", [4, 0], "curve.interactions is no column of integers that rise"),
    ("curve/gradient_steps", [-1, 0], "curve.gradient_steps is no column of integers that rise"),
    ("curve/error", [0.5], "the columns of curve differ in length"),
    ("curve/error", [0.5, "x"], "curve.error is no column of numbers"),
    ("curve/error", [0.5, True], "curve.error is no column of numbers"),
    ("curve/error", [0.5, 10**400], "curve.error is no column of numbers"),
    ("curve/error", [0.5, 1e308], "curve.error is no column of numbers"),
    ("curve", {}, "curve.step is missing"),
    ("curve/..:x", [0, 1], "curve...:x is [0, 1]"),
    ("spec/task/kind", REMOVED, "spec.task.kind is missing"),
    ("spec/task/prompts", REMOVED, "spec.task.prompts is missing"),
    ("spec/task/candidates", "4", "spec.task.candidates is '4'"),
    ("spec/training/steps", REMOVED, "spec.training.steps is missing"),
    ("spec/training/steps", "x", "spec.training.steps is 'x'"),
    ("spec/training/steps", True, "spec.training.steps is True"),
    ("spec/cell/length", [2], "spec.cell.length is [2]"),
    ("spec/hyper/eta", {}, "spec.hyper.eta is {}"),
    ("spec/seed", -1, "spec.seed is -1"),
    ("spec/seed", True, "spec.seed is True"),
    ("spec/algorithm", "a/b", "spec.algorithm is 'a/b'"),
    ("spec/algorithm", "a\nb", "spec.algorithm is 'a\\nb'"),
    ("spec/seed_batch", 10**12, "spec.seed_batch is 1000000000000"),
    ("facts/initial_success", "x", "facts.initial_success is 'x'"),
    ("counts/interactions", None, "counts.interactions is None"),
    ("cost/cpu_s", None, "cost.cpu_s is None"),
    ("attempts", 0, "attempts is 0"),
    ("first_nonfinite_step", "x", "first_nonfinite_step is 'x'"),
    ("provenance/seed_scheme", [1], "provenance.seed_scheme is [1]"),
    ("provenance/started_utc", {}, "provenance.started_utc is {}"),
    ("provenance/log", "x" * 10**6, "provenance.log is 'xxxx"),
    ("provenance/x", [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]], "provenance.x is [[[[[[[...]]]]]]]"),
    ("provenance/x", "\ud800", "half of a surrogate pair"),
    ("reason", 5, "reason is 5"),
    ("status", ["ok"], "status is ['ok']"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "fault"), ODD)
def test_an_odd_field_costs_its_record_only(tmp_path, path, value, fault):
    """The record is set aside, with its place and its fault in a short line; the others are read."""
    odd = replaced(json.loads(RUNS[0].to_line()), path.split("/"), value)
    parse_record(RUNS[0].to_line(), "")  # what was sound once is looked at again where it has changed
    file = tmp_path / "odd.jsonl"
    file.write_text("\n".join([line_of(odd), *(r.to_line() for r in RUNS[1:])]) + "\n", encoding="utf-8")
    records, damaged = load_packed(file)
    assert ([r.id for r in records], damaged) == ([r.id for r in RUNS[1:]], 1)
    (damage,) = damaged_in(file)
    assert str(damage).startswith(f"{file} line 1: {fault}")
    assert len(str(damage)) < len(str(file)) + 150


def outcome_of(text):
    """The record in a text, or why there is none."""
    try:
        return parse_record(text, "here")
    except (DamagedRecord, TpobenchError) as error:
        return str(error)


@pytest.mark.parametrize(("path", "value"), [
    *((path, value) for path, value, _ in ODD), ("schema", 2), ("schema", True), ("status", "fine"), ("a", 1), ("x", 1),
    ("spec/seed", 2**31), ("spec/training/learning_rate", 1e-05), ("reporting/title", "\ud800"), ("id", "0" * 16),
])  # fmt: skip
def test_an_odd_field_is_found_in_every_spelling(path, value):
    """In that of `to_line` too, of which what seeds share is read once, when others of its arm are known."""
    odd = replaced(json.loads(RUNS[0].to_line()), path.split("/"), value)
    odd |= {"id": spec_id(odd["spec"])} if path != "id" else {}
    for _ in range(2):
        parse_record(RUNS[0].to_line(), "here")
        assert outcome_of(json.dumps(odd, sort_keys=True, separators=(",", ":"))) == outcome_of(json.dumps(odd))


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_a_known_arm_hides_no_fault_of_its_records(status):
    """Any character replaced, in what seeds share too: the answer is that of the same value in another spelling."""
    line = record(10, status, changes={"hyper": {"eta": 1e-05, "seed": 1}}, provenance={"git": "é"}).to_line()
    assert outcome_of(line) == outcome_of(json.dumps(json.loads(line)))
    for place in range(len(line)):
        for character in '0"}x':
            text = line[:place] + character + line[place + 1 :]
            try:
                spelled = json.dumps(json.loads(text))
            except ValueError:
                assert isinstance(outcome_of(text), str)
            else:
                assert outcome_of(text) == outcome_of(spelled)


@pytest.mark.parametrize(
    "inner",
    [
        {"changes": {"cell": {"a": 1, "seed": 0, "z": 1}}},
        {"changes": {"hyper": {"eta": 1.0, "seed": 1}}},
        {"changes": {"task": {**TASK, "seed": 2}}},
        {"changes": {"cell": {"a": ',"seed":0,', "b": ',"spec":{'}}},
        {"reporting": {**SCORED, "spec": {"a": 0, "seed": 0, "z": 0}, "status": 0}},
        {"reporting": {**SCORED, "title": '"x\\,"seed":1,'}},
        {"facts": {"a": 1.0, "reporting": 0.5}},
        {"provenance": {"a": 0, "reporting": {"a": 0, "seed": 1, "b": 1}}},
    ],
)
def test_runs_of_an_arm_are_told_apart_by_their_own_seeds(inner):
    """Not by other fields of that name, nor by words that look like one."""
    runs = [record(seed, **inner) for seed in (0, 1, 2, 10, 0)]
    assert [parse_record(r.to_line(), "here") for r in runs] == runs
    other = replaced(json.loads(runs[1].to_line()), ["spec", "seed"], None)
    with pytest.raises(DamagedRecord, match=r"spec\.seed is None"):
        parse_record(canonical({**other, "id": spec_id(other["spec"])}), "here")


def test_an_id_is_that_of_the_canonical_spec():
    """Not of the text that stands in a record, where that is another one."""
    line, other = (canonical(spec(3, hyper={"eta": 0.5})).replace("0.5", eta) for eta in ("0.5", "0.50"))
    whole = record(3, changes={"hyper": {"eta": 0.5}}).to_line()
    assert parse_record(whole.replace(line, other), "here") == parse_record(whole, "here")
    with pytest.raises(DamagedRecord, match="the id of its spec is not"):
        parse_record(whole.replace(line, other).replace(text_id(line), text_id(other)), "here")


def test_an_odd_record_is_named_and_the_rest_is_reported(monkeypatch, capsys, tmp_path):
    """By `status`, `lint` and `report`, in a folder too."""
    monkeypatch.chdir(tmp_path)
    odd = replaced(json.loads(RUNS[0].to_line()), ("reporting", "window"), REMOVED)
    folder = write(tmp_path / "results" / "tiny", *RUNS)
    (file,) = folder.glob(f"runs/*/{odd['id']}.json")
    file.write_text(line_of(odd), encoding="utf-8")
    named = f"1 damaged records were left out: {file.relative_to(tmp_path)}: reporting.window is missing"
    for words in (["status"], ["lint", "results"], ["report", "--figures", "none", "--out", "report"]):
        code, out, err = command(monkeypatch, capsys, *words)
        assert code in {0, 3}, err
        assert named in out + err
    assert "| grpo |" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    _, out, _ = command(monkeypatch, capsys, "status", "--json")
    (damaged,) = json.loads(out)["damaged"]
    assert damaged == {"where": str(file.relative_to(tmp_path)), "fault": "reporting.window is missing"}


def test_every_committed_record_is_sound():
    """None is set aside, whatever it was made by."""
    places = [*sources(RESULTS), *sources(RESULTS / "baselines")]
    assert len(places) > 20
    assert [load_packed(place)[1] for place in places] == [0] * len(places)


def test_what_a_run_writes_can_be_read():
    """A value that no record may hold is a divergence, at its step."""
    from harness_helpers import Row

    from tpobench.planning.plan import Job

    spec = RunSpec(**record().spec)
    rows = [Row(step, step, step, "error", (value,)) for step, value in enumerate((0.5, 0.9 * LARGEST, 2 * LARGEST))]
    (made,) = assemble(Job((spec,), (0,)), rows, REPORTING)
    assert (made.status, made.first_nonfinite_step, made.curve["error"]) == ("diverged", 2, [0.5, 0.9 * LARGEST, None])
    assert parse_record(made.to_line(), "here") == made


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, len(RUNS) - 1), st.data())
def test_no_field_of_a_record_breaks_a_reader(number, data):
    """Any field removed or replaced by anything: set aside, or read by all as every other record."""
    raw = data.draw(mutants(json.loads(RUNS[number].to_line())))
    try:
        line = line_of(raw)
    except ValueError:  # a spec without canonical bytes
        return
    try:
        mutant = parse_record(line, "here")
    except (DamagedRecord, TpobenchError):
        return
    records = (mutant, *(r for r in RUNS if r.id != mutant.id))
    for read in (
        lambda: render_markdown(Results(records)),
        lambda: lint_sets([ResultSet("odd", records)]),
        lambda: new_baseline(Path("b.jsonl"), records, None),
        lambda: unite(Path("m.jsonl"), [Source(Path("a"), tuple(Located(r, "a") for r in records), (), SUITE)]),
        lambda: compare_algorithms(Results(records), "tpo", "grpo"),
    ):
        with suppress(TpobenchError):
            read()
