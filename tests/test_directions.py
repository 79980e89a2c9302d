"""A metric that is better when higher says everywhere what its mirror image says: 1 - error, the ends changed over."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from simulated import REPORTING, record

from tpobench.audit import Choices, audit
from tpobench.check.baseline import read_baseline
from tpobench.check.evidence import candidate_of, gate_cells
from tpobench.comparison import compare_algorithms
from tpobench.comparison.detection import detect
from tpobench.errors import UsageError
from tpobench.identity import spec_id
from tpobench.lint import ResultSet, lint_sets
from tpobench.planning.levels import outcome_of
from tpobench.planning.looks import AdaptiveCell, Looks
from tpobench.planning.plan import Plan
from tpobench.records.results import Results
from tpobench.records.store import write_packed
from tpobench.report import make_report, render_markdown
from tpobench.report.breaking_point import searched
from tpobench.report.figures import pictures_of
from tpobench.scores import scalars
from tpobench.scores.cells import read_cells
from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import Reporting
from tpobench.scores.scalars import Definition
from tpobench.stats.gate import GatePlan, Margin, decide
from tpobench.stats.sequential import parse_plan
from tpobench.suites.reading import build_suite
from tpobench.suites.search import Search
from tpobench.tasks.catalog import BanditSettings
from tpobench.tasks.settings import ERROR, Metric

LOWER = {**REPORTING, "metric": "loss", "window": 4, "thresholds": [0.3, 0.1]}  # an error is shown in percent
HIGHER = {**LOWER, "metric": "gain", "better": "higher", "best": 1.0, "worst": 0.0, "solved": 0.95,
          "thresholds": [0.7, 0.9]}  # fmt: skip
RULES = {"tpo": 0.02, "grpo": 0.1, "dg": 0.4}
FINE = 2.0**-20  # a grid on which 1 - x is exact


def curve(rule, seed, length):
    """Falls to about the level of its rule; every fourth seed stays where it was."""
    rng = np.random.default_rng([seed, length, len(rule)])
    level = 0.7 if seed % 4 == 3 else RULES[rule] * (1 + length / 8)
    errors = level + (0.9 - level) * np.exp(-np.arange(30) / 4) + rng.normal(0, 0.004, 30)
    return (np.round(np.clip(errors, 0, 1) / FINE) * FINE).tolist()


def runs(reporting, lengths=(4, 8), seeds=12, rules=RULES):
    """The same runs, scored by their loss or by their gain; one of dg diverged."""
    higher = reporting.get("better") == "higher"
    found = []
    for rule in rules:
        for length in lengths:
            for seed in range(seeds):
                lost = rule == "dg" and seed == 0
                losses = [e if not (lost and i > 20) else None for i, e in enumerate(curve(rule, seed, length))]
                values = [None if e is None else 1 - e if higher else e for e in losses]
                made = record(
                    rule, seed, losses, cell={"length": length}, status="diverged" if lost else "ok",
                    success=0.5 / length, reporting=reporting, **{reporting["metric"]: values},
                )  # fmt: skip
                task = {**made.spec["task"], "prompts": 4, "candidates": 2}
                spec = {**made.spec, "task": task, "algorithm_version": "1"}
                found.append(dataclasses.replace(made, spec=spec, id=spec_id(spec)))
    return found


@pytest.fixture(name="both", scope="module")
def both_fixture():
    return Results(tuple(runs(LOWER))), Results(tuple(runs(HIGHER)))


def mirrored(numbers):
    """An estimate of 1 - x, from one of x."""
    value, low, high = (numbers[k] for k in ("value", "low", "high"))
    return {**numbers, "value": over(value), "low": over(high), "high": over(low)}


def over(value):
    return None if value is None else 1 - value


def turned(numbers):
    """The difference of 1 - x and 1 - y, from that of x and y."""
    ends = {k: None if numbers[v] is None else -numbers[v] for k, v in
            (("difference", "difference"), ("low", "high"), ("high", "low"))}  # fmt: skip
    return {**numbers, **ends}


def same(found, expected, tolerance=1e-9):
    """Equal texts and counts, numbers but for their last bits; those of a resampled interval may be amplified."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            same(found[key], value, tolerance)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other, tolerance)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=1e-12)
    else:
        assert found == expected


def tables(results, **options):
    (section,) = make_report(results, options=ReportOptions(**options)).sections
    return {t.name: t for t in section.tables}


@pytest.mark.parametrize("options", [{}, {"paper_compat": True}, {"diverged": "drop"}, {"ci": "studentized"}])
def test_a_report_has_the_mirrored_means_and_the_same_tests(both, options):
    """Best groups, p, solved counts, times and suite scores are equal, means and intervals mirrored."""
    lower, higher = (tables(r, **options) for r in both)
    final = "final1" if options.get("paper_compat") else "final4"
    names = [n.replace("0.7", "0.3").replace("0.9", "0.1") for n in higher]
    assert names == list(lower)
    for (name, table), other in zip(lower.items(), higher.values(), strict=True):
        for row, mirror in zip(table.rows, other.rows, strict=True):
            for cell, image in zip(row, mirror, strict=True):
                assert (cell.best, cell.leader) == (image.best, image.leader), name
                data = dict(cell.data)
                if name in {final, "area", f"details-{final}"} and "estimate" in data and "count" not in data:
                    data["estimate"] = mirrored(data["estimate"])
                if name in {f"tests-{final}", "tests-area"} and "difference" in data:
                    data = turned(data)
                same(dict(image.data), data, 1e-4 if name == "area" else 1e-9)
    verdicts = [[[row[-1].text for row in t.rows] for n, t in each.items() if n.startswith("tests")] for each in
                (lower, higher)]  # fmt: skip
    assert verdicts[0] == verdicts[1]
    assert "better" in {v for table in verdicts[0] for v in table}


def test_a_report_says_which_way_is_better(both):
    """Arrows, sides of thresholds, what a diverged run scored, the ends of the score."""
    lower, higher = map(render_markdown, both)
    for text in ("Loss ↓, mean of the last 4", "Updates to loss &lt; 0.1 ↓", "diverged, scored 1.0",
                 "Solved: below 0.05", "Score: 1 at a final loss of 0, 0 at 1"):  # fmt: skip
        assert text in lower
    for text in ("Gain ↑, mean of the last 4", "Updates to gain &gt; 0.9 ↓", "diverged, scored 0.0",
                 "Solved: above 0.95", "Score: 1 at a final gain of 1, 0 at 0", "higher where ↑ says so"):  # fmt: skip
        assert text in higher
    assert "↑" not in lower.replace("Score ↑", "")


@pytest.mark.parametrize("metric", ["final", "area", "steps", "rate"])
def test_compare_has_the_same_verdicts(both, metric):
    """Of every cell and of the suite; the difference of a mean is turned, that of a time or a rate is not."""
    lower, higher = (compare_algorithms(r, "tpo", "dg", metric=metric).as_dict() for r in both)
    for row, image in zip(lower["comparisons"], higher["comparisons"], strict=True):
        mean = metric in {"final", "area"}
        plain = {k: v for k, v in row.items() if k not in {"a", "b"}}
        same({k: image[k] for k in plain}, turned(plain) if mean else plain)
        for side in ("a", "b"):
            same(image[side]["seeds"], {k: 1 - v if mean else v for k, v in row[side]["seeds"].items()})
            estimate = mirrored(row[side]["estimate"]) if mean else row[side]["estimate"]
            same(image[side]["estimate"], estimate, 1e-4 if metric == "area" else 1e-9)
    same(higher["suites"], lower["suites"])
    assert {row["verdict"] for row in lower["comparisons"]} & {"better", "worse"}
    words = {"final": "mean gain of the last 4 evaluations, higher is better",
             "area": "mean gain over all updates, higher is better",
             "steps": "min(updates until gain > 0.9, budget), lower is better",
             "rate": "1 for a seed that does not end above gain 0.95, else 0"}  # fmt: skip
    assert higher["scalar"] == words[metric]


def test_power_detects_the_same_difference(both):
    """Spread and pairs are the same; the mean is mirrored, the difference of a pair turned."""
    lower, higher = (detect(Results(tuple(r for r in b.records if r.spec["cell"] == {"length": 4}))) for b in both)
    for row, image in zip(lower.rows, higher.rows, strict=True):
        assert image.observed == pytest.approx(-row.observed if len(row.arms) == 2 else 1 - row.observed)
        same(dataclasses.asdict(image.power), dataclasses.asdict(row.power))


def test_lint_finds_the_same(both):
    """Codes, cells and algorithms."""
    found = [
        [(f.code.code, f.cells, f.algorithms) for f in lint_sets([ResultSet("r", r.records)]).findings] for r in both
    ]
    assert found[0] == found[1]
    assert {"L004", "L080"} <= {code for code, _, _ in found[0]}


@pytest.mark.parametrize(
    ("final", "expected"), [(0.001, "L081"), (0.875, "L082"), (1.5, "L065")]
)  # solved by all, learnt by none, worse than a diverged run
def test_lint_knows_both_ends_of_a_scale(final, expected):
    """Of a loss and of its mirror image."""
    for reporting in (LOWER, HIGHER):
        values = [0.875, *[final] * 9] if reporting is LOWER else [0.125, *[1 - final] * 9]
        made = [
            record(rule, seed, values, reporting=reporting, **{reporting["metric"]: values})
            for rule in ("tpo", "grpo")
            for seed in range(5)
        ]
        assert expected in {f.code.code for f in lint_sets([ResultSet("r", tuple(made))]).findings}


@pytest.mark.parametrize("worse", [0.0, 0.125, -0.0625])
def test_the_gate_decides_the_same(tmp_path, worse):
    """Under a margin that is no share of the mean: regressed, unchanged or improved alike."""
    verdicts = []
    margins = {kind: Margin(2.0**-6) for kind in ("error", "reward", "rate")} | {"steps": Margin(0, 0.25, True)}
    for reporting in (LOWER, HIGHER):
        sign = -1 if reporting is HIGHER else 1
        old = runs(reporting, lengths=(4,), rules=["tpo"])
        name = reporting["metric"]
        new = [dataclasses.replace(r, curve={**r.curve, name: [v + sign * worse for v in r.curve[name]]}) for r in old]
        path = tmp_path / f"{name}.jsonl"
        write_packed(path, old)
        base = read_baseline(path)
        cells = gate_cells(base, candidate_of(base, new), margins)
        found = decide([dataclasses.replace(c.evidence, name=c.measure[:5]) for c in cells], GatePlan(confirm=False))
        verdicts.append([(v.status, v.p, v.difference, v.low, v.high) for v in found.verdicts])
    same(verdicts[1], verdicts[0])
    assert {"regressed", "improved", "unchanged"} & {status for status, *_ in verdicts[0]}


def test_adaptive_seeds_stop_at_the_same_look(both):
    """Replayed from the records, with the difference turned."""
    rows = []
    for results in both:
        known = {r.id: r for r in results.records}
        at = {(r.spec["algorithm"], r.spec["cell"]["length"], r.spec["seed"]): r.id for r in results.records}
        specs = {rule: tuple(_Spec(at[rule, 4, seed]) for seed in range(12)) for rule in RULES}
        reporting = Reporting.of(results.records[0].reporting)
        cell = AdaptiveCell({"length": 4}, "any", parse_plan("6x2", tuple(RULES)), specs, reporting)
        rows.append(Looks("adaptive:6x2", Plan(None, ()), (cell,)).replay(known).rows())
    assert [[r["status"], r["look"]] for r in rows[0]] == [[r["status"], r["look"]] for r in rows[1]]
    same([-r["difference"] for r in rows[1]], [r["difference"] for r in rows[0]])
    assert {"better"} <= {r["status"] for r in rows[0]}


@dataclasses.dataclass(frozen=True)
class _Spec:
    run_id: str


def test_a_search_counts_the_same_seeds_as_learned():
    """While it runs and in its report."""
    counts = []
    for reporting, learned in ((LOWER, 0.25), (HIGHER, 0.75)):
        search = {"axis": "length", "easiest": 4, "hardest": 8, "learned": learned}
        made = runs({**reporting, "search": search})
        group = searched(read_cells(made)[0]["simulated"])[0]
        specs = [_Spec(r.id) for r in made[:12]]
        outcome = outcome_of(specs, {r.id: r for r in made}, Search(**search))
        counts.append(([(c.axes, group.learned(c, "tpo")) for c in group.cells], outcome, group.points))
    same(dataclasses.asdict(counts[1][1]), dataclasses.asdict(counts[0][1]))
    assert counts[0][0] == counts[1][0]
    assert counts[0][2] == counts[1][2]
    assert 0 < counts[0][1].learned < 12


def labels(results):
    pictures = pictures_of("simulated", read_cells(results.records)[0]["simulated"])
    texts = [p.caption for p in pictures] + [p.title for p in pictures]
    for picture in pictures:
        for ax in picture.figure.axes:
            texts += [ax.get_xlabel(), ax.get_ylabel()]
    return " | ".join(texts), {p.name.removeprefix("simulated-"): p.figure for p in pictures}


def test_figures_say_which_way_is_better(both):
    """Words and axes: the best value is an end of the scale."""
    (lower, low), (higher, high) = map(labels, both)
    for text in ("ends lower than right", "Seeds below 0.1 (%)", "with the lower loss"):
        assert text in lower
    for text in ("ends higher than right", "Seeds above 0.9 (%)", "with the higher gain"):
        assert text in higher
    assert low["curves"].axes[0].get_ylim()[0] == 0.0
    assert high["curves"].axes[0].get_ylim()[1] == 1.0
    assert high["final"].axes[0].get_xlim()[1] == 1.0
    dots = [sorted(float(x) for line in f["improvement"].axes[0].get_lines() for x in line.get_xdata()) for f in
            (low, high)]  # fmt: skip
    same(dots[1], dots[0])


def test_an_audit_of_the_mirrored_table_has_the_same_verdicts(tmp_path):
    """--higher with the ends changed over: sentences, p and scores are equal, means mirrored."""
    rng = np.random.default_rng(5)
    found = []
    values = {
        (a, t, s): round((0.2 + 0.1 * i + float(rng.normal(0, 0.08))) / FINE) * FINE
        for i, a in enumerate(("tpo", "grpo", "dg")) for t in ("hop", "walk") for s in range(12)
    }  # fmt: skip
    for higher in (False, True):
        path = tmp_path / ("higher.csv" if higher else "lower.csv")
        lines = [f"{a},{t},{s},{1 - v if higher else v!r}" for (a, t, s), v in values.items()]
        path.write_text("\n".join(["algorithm,task,seed,value", *lines]), encoding="utf-8")
        ends = {"best": ("1",), "worst": ("0",)} if higher else {"best": ("0",), "worst": ("1",)}
        found.append(audit(path, Choices(lower=not higher, higher=higher, **ends)))
    lower, higher = found
    assert lower.verdicts == higher.verdicts
    assert [(f.code.code, f.cells) for f in lower.checks.findings] == [(f.code.code, f.cells) for f in
                                                                     higher.checks.findings]  # fmt: skip
    for table, image in zip(lower.tables, higher.tables, strict=True):
        for row, mirror in zip(table.rows, image.rows, strict=True):
            for cell, other in zip(row, mirror, strict=True):
                data = json.loads(json.dumps(dict(cell.data)))
                if table.name.startswith("task") and "estimate" in data:
                    data["estimate"] = mirrored(data["estimate"])
                if table.name == "tests" and "difference" in data:
                    data = turned(data)
                same(json.loads(json.dumps(dict(other.data))), data)
                assert (cell.best, cell.leader) == (other.best, other.leader)


def test_a_reward_without_a_best_value_has_no_score():
    """Everything else is there: nothing says what would be 1."""
    unbounded = {k: v for k, v in HIGHER.items() if k != "best"}
    text = render_markdown(Results(tuple(runs(unbounded))))
    assert "no score: nothing says what the best value is; set report.best" in text
    assert "Gain ↑, mean of the last 4" in text


def document(**report):
    """A suite as its file has it."""
    task = {"kind": "bandit", "arms": 5, "samples": 4}
    training = {"steps": 4, "epochs": 1, "optimizer": "normalized", "learning_rate": 0.1}
    return {"title": "t", "algorithms": ["tpo"], "task": task, "training": training, "report": report}


@pytest.fixture
def undeclared(monkeypatch):
    """A task that does not say which way its metrics are better."""
    monkeypatch.setattr(BanditSettings, "metrics", (Metric("error"), Metric("misalignment")))


@pytest.mark.usefixtures("undeclared")
def test_a_suite_says_which_way_is_better_and_only_where_it_is_not_lower():
    """In [report], which its records copy; a lower metric leaves no trace, so no id and no record changes."""
    said = {"better": "higher", "worst": 0.0, "best": 1.0, "solved": 0.95, "thresholds": [0.9]}
    higher = build_suite("s", document(metric="misalignment", **said), "s.toml")
    assert {k: v for k, v in higher.reporting.items() if k in said} == said
    plain = build_suite("s", document(), "s.toml")
    assert plain.reporting == build_suite("s", document(better="lower"), "s.toml").reporting
    assert not {"better", "best"} & plain.reporting.keys()
    assert Reporting.of(plain.reporting) == Reporting(window=50, title="t")


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"better": "up"}, "better must be one of lower, higher, not 'up'"),
        ({"better": "higher"}, "worst must be below solved and every threshold where higher is better; it is 1"),
        ({"better": "higher", "worst": 0.0, "best": 0.0},
         "best must be better than worst, which is 0, where higher is better"),
        ({"best": 2.0}, "best must be better than worst, which is 1, where lower is better"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("undeclared")
def test_ends_that_contradict_the_direction_are_refused(report, said):
    """In one line, before anything runs."""
    with pytest.raises(UsageError, match=f"^s.toml: report.{said}$"):
        build_suite("s", document(**report), "s.toml")


def test_a_task_may_say_which_way_its_metrics_are_better(monkeypatch):
    """Its suites need not say it again, and may not say the contrary."""
    metrics = (ERROR, Metric("misalignment", "higher"))
    monkeypatch.setattr(BanditSettings, "metrics", metrics)
    said = {"metric": "misalignment", "worst": -1.0, "solved": 0.5, "thresholds": [0.5]}
    assert build_suite("s", document(**said), "s.toml").reporting["better"] == "higher"
    with pytest.raises(UsageError, match=r"'report\.better' is 'lower', but higher is better of this metric"):
        build_suite("s", document(better="lower", **said), "s.toml")


def test_a_new_number_is_one_entry(monkeypatch, both):
    """The best evaluation: a table in the report with its tests, a name for compare and power, in both directions."""
    entry = Definition(
        lambda s, arm: s.of(arm, lambda x, _: s.sign * (s.sign * x).min(axis=1)), lambda _: "best {} of all evaluations"
    )
    monkeypatch.setitem(scalars.SCALARS, "best", entry)
    lower, higher = (tables(r) for r in both)
    assert (lower["best"].title, higher["best"].title) == (
        "Loss ↓, best of all evaluations", "Gain ↑, best of all evaluations"
    )  # fmt: skip
    assert [c.text for row in lower["tests-best"].rows for c in row[-1:]] == [
        c.text for row in higher["tests-best"].rows for c in row[-1:]
    ]
    found = [compare_algorithms(r, "tpo", "dg", metric="best") for r in both]
    assert [c.measure.words for c in found] == [
        "best loss of all evaluations, lower is better", "best gain of all evaluations, higher is better"
    ]  # fmt: skip
    assert {row.verdict for row in found[0].rows} == {row.verdict for row in found[1].rows} == {"better"}
    assert [d.measure.name for d in (detect(r, metric="best", algorithms=["tpo"]) for r in both)] == ["best", "best"]
