"""Suite files are read strictly, and a refusal says where, what, and what would be valid."""

from dataclasses import fields
from typing import get_type_hints

import pytest
from harness_helpers import document, sequence_document

from tpobench.errors import UsageError
from tpobench.suites.load import (
    ReportSettings,
    Suite,
    Training,
    build_suite,
    load_suite,
    parse_value,
    scale_changes,
    set_key,
)
from tpobench.suites.search import Search
from tpobench.tasks.catalog import TASKS


def refusal(doc):
    with pytest.raises(UsageError) as caught:
        build_suite("tiny", doc, "tiny.toml")
    text = str(caught.value)
    assert "\n" not in text
    return text


def with_key(section, key, value, base=document):
    doc = base()
    doc.setdefault(section, {})[key] = value
    return doc


@pytest.mark.parametrize(
    ("doc", "words"),
    [
        (document(titel="x"), ("'titel'", "did you mean 'title'")),
        (document(seeds=True), ("'seeds' is true", "an integer")),
        (document(seeds="10"), ("'seeds' is '10'", "an integer")),
        (document(seeds=0), ("seeds", "at least 1")),
        (document(algorithms="tpo"), ("'algorithms' is 'tpo'", "a list")),
        (document(algorithms=["../tpo"]), ("'../tpo'", "a-z")),
        (document(task={"kind": "bandid"}), ("'bandid'", "did you mean 'bandit'")),
        (document(task={"arms": 3}), ("task.kind", "one of: bandit, ")),
        (document(training=[]), ("'training'", "[training]")),
        (with_key("task", "armz", 3), ("'task.armz'", "did you mean 'task.arms'")),
        (with_key("task", "arms", 1), ("task.arms", "at least 2")),
        (with_key("task", "arms", 5.0), ("'task.arms' is 5.0", "an integer")),
        (with_key("training", "step", 3), ("'training.step'", "did you mean 'training.steps'")),
        (with_key("training", "optimizer", "mun"), ("muon, adam, adamw, normalized", "did you mean 'muon'")),
        (with_key("training", "learning_rate", float("inf")), ("training.learning_rate", "a number")),
        (with_key("training", "learning_rate", False), ("'training.learning_rate' is false", "a number")),
        (with_key("training", "matching", "prompt"), ("prompts, interactions", "did you mean 'prompts'")),
        (with_key("grid", "lenght", [3], sequence_document), ("'grid.lenght'", "did you mean 'grid.length'")),
        (with_key("grid", "length", 3, sequence_document), ("'grid.length' is 3", "a list")),
        (with_key("grid", "length", [], sequence_document), ("'grid.length'", "at least one value")),
        (with_key("grid", "length", [3, 3], sequence_document), ("'grid.length'", "each once")),
        (with_key("grid", "length", [3, 99], sequence_document), ("[grid]", "at least 1 and at most 64")),
        (with_key("grid", "length", [True], sequence_document), ("'grid.length' is true", "an integer")),
        (with_key("algorithm", "tpo", 1.0), ("'algorithm.tpo'", "[algorithm.tpo]")),
        (with_key("algorithm", "tpo", {"epochs": 0}), ("algorithm.tpo.epochs", "at least 1")),
        (with_key("hyper", "tpo", {"eta": [1.0]}), ("'algorithm.tpo.eta'", "a number")),
        (with_key("hyper", "tpo", {"eta": [1.0, 2.0]}), ("'algorithm.tpo.eta'", "hyper.eta = [...]")),
        (with_key("grid", "hyper.eta", 1.0), ("'grid.hyper.eta' is 1.0", "a list")),
        (with_key("grid", "hyper.eta", []), ("'grid.hyper.eta'", "at least one value")),
        (with_key("grid", "hyper.eta", [1, 1.0]), ("'grid.hyper.eta'", "each once")),
        (with_key("grid", "hyper.eta", [1.0, "hot"]), ("'grid.hyper.eta'", "numbers, or texts, or true and false")),
        (with_key("grid", "hyper.eta", [float("nan")]), ("'grid.hyper.eta'", "a number")),
        (with_key("grid", "hyper", {"eta": [1.0]}), ("[grid]", 'in quotes: "hyper.NAME"')),
        (with_key("grid", "hyper.tpo.eta", [1.0]), ("unknown key 'grid.hyper.tpo.eta'",)),
        (with_key("grid", "hyper.Eta", [1.0]), ("'grid.hyper.Eta'", "a-z")),
        (with_key("grid", "hyper.epochs", [1, 2]), ("'grid.hyper.epochs'", "write grid.epochs")),
        (with_key("grid", "hyper.arms", [3, 4]), ("'grid.hyper.arms'", "write grid.arms")),
        (with_key("grid", "hyper.seed", [1, 2]), ("'grid.hyper.seed'", "column")),
        (
            document(grid={"hyper.eta": [1.0]}, hyper={"tpo": {"eta": 2.0}}),
            ("'grid.hyper.eta' and 'algorithm.tpo.eta'",),
        ),
        (
            document(grid={"learning_rate": [0.1]}, algorithm={"tpo": {"learning_rate": 1.0}}),
            ("'grid.learning_rate' and",),
        ),
        (document(hyper={"tpo": {"eta": 2.0}}, algorithm={"tpo": {"epochs": 2}}), ("[hyper.tpo] and [algorithm.tpo]",)),
        (with_key("algorithm", "tpo", {"epochs": 2.0}), ("'algorithm.tpo.epochs' is 2.0", "an integer")),
        (with_key("algorithm", "tpo", {"learning_rate": 0}), ("algorithm.tpo.learning_rate", "positive")),
        (with_key("algorithm", "tpo", {"learning_rate": [0.1]}), ("'algorithm.tpo.learning_rate'", "a number")),
        (document(deviations="none"), ("'deviations' is 'none'", "a list")),
        (document(deviations=[3]), ("'deviations' is 3", "a text")),
        (document(quick=[3]), ("'quick'", "[quick]")),
        (with_key("report", "windows", 3), ("'report.windows'", "did you mean 'report.window'")),
        (with_key("cost", "ms_per_step", {"default": "3"}), ("'cost.ms_per_step.default'", "a number")),
    ],
)
def test_a_mistake_in_a_suite_file_is_named_with_file_key_and_remedy(doc, words):
    """Each mistake is one line that holds the file, the key and what would be valid."""
    text = refusal(doc)
    assert "tiny.toml" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("key", ["title", "algorithms", "task", "training"])
def test_a_missing_key_is_named(key):
    """What every suite needs is asked for by name."""
    doc = document()
    del doc[key]
    assert f"'{key}' is missing" in refusal(doc)


def test_an_integer_is_a_number():
    """1 and 1.0 are the same value where a number is due."""
    one = build_suite("tiny", with_key("training", "learning_rate", 1), "f")
    assert type(one.training.learning_rate) is float
    assert one == build_suite("tiny", with_key("training", "learning_rate", 1.0), "f")


def test_the_cells_are_the_product_of_the_grid():
    """Two axes of two and three values make six cells, and matching does not name a cell."""
    doc = sequence_document(grid={"length": [2, 3], "reward": ["terminal", "sequential", "bag_of_tokens"]})
    cells = build_suite("tiny", doc, "f").cells
    assert [c.axes["length"] for c in cells] == [2, 2, 2, 3, 3, 3]
    assert cells[4].task.reward == "sequential"
    matched = build_suite("tiny", sequence_document(grid={"matching": ["prompts", "interactions"]}), "f").cells
    assert [c.axes for c in matched] == [{}, {}]


def test_a_hyperparameter_can_be_an_axis():
    """Its cells are named by the bare name, and hold the value for every rule; numbers are numbers."""
    suite = build_suite("tiny", document(grid={"arms": [3, 4], "hyper.eta": [0.5, 2]}), "f")
    assert [(dict(c.axes), dict(c.hyper)) for c in suite.cells] == [
        ({"arms": 3, "eta": 0.5}, {"eta": 0.5}),
        ({"arms": 3, "eta": 2.0}, {"eta": 2.0}),
        ({"arms": 4, "eta": 0.5}, {"eta": 0.5}),
        ({"arms": 4, "eta": 2.0}, {"eta": 2.0}),
    ]
    assert [type(c.hyper["eta"]) for c in suite.cells] == [float] * 4
    flags = build_suite("tiny", document(grid={"hyper.anchor": [True, False]}), "f")
    assert [c.hyper["anchor"] for c in flags.cells] == [True, False]


def test_a_resolved_suite_is_a_valid_document():
    """What meta.json keeps can be read again."""
    suite = build_suite("tiny", document(grid={"hyper.eta": [0.5, 2]}, deviations=["fewer seeds"]), "f")
    resolved = suite.as_dict()
    assert resolved["deviations"] == ["fewer seeds"]
    assert build_suite("tiny", {k: v for k, v in resolved.items() if k != "name"}, "f") == suite


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("terminal", "terminal"),
        ('"a,b"', "a,b"),
        ("3,4", [3, 4]),
        ("[0.1, 0.2]", [0.1, 0.2]),
        ("a,b", ["a", "b"]),
        ("1\ntitle = 2", "1\ntitle = 2"),
    ],
)
def test_override_values_are_toml_scalars(text, value):
    """A value reads as in a suite file; bare words are texts and commas make lists."""
    assert parse_value(text) == value


def override(doc, *overrides):
    for each in overrides:
        key, _, value = each.partition("=")
        set_key(doc, key, parse_value(value), f"--set {each}")
    return build_suite("tiny", doc, "--set")


def test_a_bare_key_finds_its_table_and_a_list_becomes_an_axis():
    """`steps=7` sets training.steps, `length=2,3` sweeps task.length."""
    suite = override(sequence_document(), "steps=7", "length=2,3", "report.window=9", "thresholds=0.2")
    assert suite.training.steps == 7
    assert suite.grid == {"length": (2, 3)}
    assert suite.report.window == 9
    assert suite.report.thresholds == (0.2,)


def test_setting_the_key_of_an_axis_replaces_the_axis():
    """The cell keeps its name, so its runs are found again."""
    suite = override(sequence_document(grid={"length": [5, 6]}), "task.length=3")
    assert suite.grid == {"length": (3,)}


def test_hyperparameters_can_be_set():
    """algorithm.ALGORITHM.NAME needs no entry in the file; hyper.ALGORITHM.NAME is another spelling."""
    of_tpo = {"tpo": {"eta": 0.5, "learning_rate": 2.0}}
    for spelling in ("hyper", "algorithm"):
        assert override(document(), "algorithm.tpo.learning_rate=2", f"{spelling}.tpo.eta=0.5").algorithm == of_tpo


def test_a_hyperparameter_without_a_rule_is_set_for_every_rule_as_an_axis():
    """hyper.NAME and grid.hyper.NAME are one key; setting it again replaces the axis."""
    assert override(document(), "hyper.eta=0.25,1").grid == {"hyper.eta": (0.25, 1.0)}
    assert override(document(), "grid.hyper.eta=0.25,1").grid == {"hyper.eta": (0.25, 1.0)}
    assert override(document(), "hyper.eta=0.25,1", "hyper.eta=2").grid == {"hyper.eta": (2.0,)}


@pytest.mark.parametrize(
    ("key", "near"),
    [("stepz", "steps"), ("training.stepz", "training.steps"), ("task.arm", "task.arms"), ("grid.armz", None)],
)
def test_an_unknown_override_is_refused_with_the_nearest_key(key, near):
    """A typing mistake costs one line, not a run."""
    with pytest.raises(UsageError, match="unknown key") as caught:
        set_key(document(), key, 3, f"--set {key}=3")
    assert f"--set {key}=3" in str(caught.value)
    assert near is None or f"did you mean '{near}'" in str(caught.value)


BANDIT = """
title = "t"
algorithms = ["tpo"]
[task]
kind = "bandit"
[training]
steps = 500
epochs = 4
optimizer = "adam"
learning_rate = 0.1
seed_batch = 10000
"""


@pytest.mark.parametrize(
    "settings", [*TASKS.values(), Training, ReportSettings, Search, Suite], ids=lambda c: c.__name__
)
def test_every_number_of_a_suite_has_bounds_that_hold(settings):
    """At both ends, declared at the field; none was forgotten."""
    hints = get_type_hints(settings, include_extras=True)
    plain = get_type_hints(settings)
    numbers = [f.name for f in fields(settings) if plain[f.name] in {int, float, tuple[float, ...]}]
    bounds = {name: hints[name].__metadata__[0] for name in numbers}
    for name in numbers:
        assert bounds[name].low > -1e16, name
        assert bounds[name].high < 1e16, name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.seed_batch=100000000000", "training.seed_batch must be at least 1 and at most 100,000"),
        ("steps=1000000000000", "training.steps must be at least 1 and at most 100,000,000"),
        ("steps=10000000", "training.record_every must leave a curve at most 1,000,000 points"),
        ("steps=" + "9" * 5000, "'training.steps' is '99999"),
        ("steps=" + "[" * 900, "'training.steps' is '[[[[["),
        ("steps=" + "[" * 100 + "1" + "]" * 100, "'training.steps' is '[[[[["),
        ("learning_rate=0x" + "f" * 3000, "'training.learning_rate' is '0xfff"),
        ("learning_rate=1e300", "'training.learning_rate' is 1e+300; it must be a number of at least -1e+15"),
        ("samples=99999999999999999999", "'99999999999999999999'; it must be an integer"),
        ("seeds=0", "seeds must be at least 1 and at most 1,000,000"),
        ("report.window=9999999", "report.window must be at least 1 and at most 1,000,000"),
        ("report.thresholds=1e40", "'report.thresholds' is 1e+40"),
        ("hyper.tpo.eta=1e40", "'algorithm.tpo.eta' is 1e+40"),
        ("hyper.tpo.epochs=1000000", "algorithm.tpo.epochs must be at least 1 and at most 100,000"),
        ("cost.ms_per_step.default=-1", "'cost.ms_per_step.default' is -1.0; it must be at least 0"),
        ("arms=" + ",".join(map(str, range(2, 20_000))), "[grid]: 19,998 cells, at most 10,000"),
        ("arms=10000000,9999999", "a job needs 5.8 TiB of memory, at most 1; lower training.seed_batch"),
        ("9" * 5000 + "=4", "unknown key '99999"),
        ("a\nb=4", "unknown key 'a\\nb'"),
    ],
)  # fmt: skip
def test_a_number_out_of_its_bounds_is_one_short_line(tmp_path, override, said):
    """Nothing is made of it first: no list of seeds, no cells."""
    path = tmp_path / "tiny.toml"
    path.write_text(BANDIT, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_suite(path, [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 650


def test_files_that_are_no_suites_are_refused(tmp_path):
    """Broken TOML, a missing file, a bad name and a huge file are each one line."""
    for name, content, word in [
        ("broken.toml", b"title = ", "not readable as TOML"),
        ("twice.toml", b"seeds = 1\nseeds = 2\n", "not readable as TOML"),
        ("digits.toml", b"seeds = " + b"9" * 5000, "not readable as TOML: an integer of more than 64 bits"),
        ("hexadecimal.toml", b"seeds = 0x" + b"f" * 5000, "not readable as TOML: an integer of more than 64 bits"),
        ("deep.toml", b"seeds = " + b"[" * 100 + b"]" * 100, "not readable as TOML: more than 16 tables and lists"),
        ("deeper.toml", b"seeds = " + b"[" * 100_000, "not readable as TOML: more than 16 tables and lists"),
        ("dotted.toml", b".".join([b"a"] * 10_000) + b" = 1", "not readable as TOML: more than 16 tables and lists"),
        ("long.toml", b"title = '" + b"x" * 20_000 + b"'", "not readable as TOML: a text of 20,000 characters"),
        ("latin.toml", b"title = '\xff'", "not readable as TOML"),
        ("Bad Name.toml", b"", "file name"),
        ("huge.toml", b"# " + b"x" * 1_000_001, "larger than 1 MB"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UsageError, match=word) as caught:
            load_suite(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no suite file"):
        load_suite(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="did you mean 'bandit'"):
        load_suite("bandid")


MINE = """
title = "t"
algorithms = ["tpo"]
seeds = 20
[task]
kind = "sequence"
[training]
steps = 500
epochs = 4
optimizer = "muon"
learning_rate = 0.1
[grid]
length = [7, 8]
"""
QUICK = """
[quick]
seeds = 8
"training.steps" = 50
"grid.length" = [4, 5]
"cost.ms_per_step.tpo" = 3
"""
SMOKE = """
[smoke]
seeds = 1
"training.steps" = 2
"""


def mine(tmp_path, *parts):
    path = tmp_path / "mine.toml"
    path.write_text(MINE + "".join(parts), encoding="utf-8")
    return path


@pytest.mark.parametrize("table", ["quick", "smoke"])
def test_a_broken_table_of_overrides_is_seen_without_asking_for_it(tmp_path, table):
    """[quick] and [smoke] are checked at every load: unknown keys and values that make no suite."""
    with pytest.raises(UsageError, match=rf"\[{table}\].*training\.steps"):
        load_suite(mine(tmp_path, f'[{table}]\n"training.stepz" = 1\n'))
    with pytest.raises(UsageError, match=rf"\[{table}\].*at least 1"):
        load_suite(mine(tmp_path, f'[{table}]\n"training.steps" = 0\n'))


def test_the_smoke_table_must_hold_at_the_quick_scale_too(tmp_path):
    """Here the smoke test's cap of K fits the paper's table only: quick moved K into the grid."""
    with pytest.raises(UsageError, match=r"\[smoke\] on top of \[quick\].*hyper.eta.*same value"):
        load_suite(mine(tmp_path, '[quick]\n"hyper.eta" = [1.0, 2.0]\n[smoke]\n"hyper.tpo.eta" = 1.0\n'))


def test_the_quick_scale_is_a_suite_of_its_own(tmp_path):
    """It applies [quick] and has another name; without it the file stands as it is."""
    path = mine(tmp_path, QUICK, SMOKE)
    paper, quick = load_suite(path), load_suite(path, scale="quick")
    assert (paper.name, paper.seeds, paper.training.steps, paper.grid) == ("mine", 20, 500, {"length": (7, 8)})
    assert (quick.name, quick.seeds, quick.training.steps, quick.grid) == ("mine-quick", 8, 50, {"length": (4, 5)})
    assert quick.cost == {"ms_per_step": {"tpo": 3.0}}
    assert load_suite(path, scale="paper") == paper


def test_overrides_come_after_the_scale_and_smoke_after_quick(tmp_path):
    """[quick], then [smoke], then --set; the name tells the scale."""
    path = mine(tmp_path, QUICK, SMOKE)
    suite = load_suite(path, ["steps=7"], scale="quick")
    assert (suite.name, suite.seeds, suite.training.steps) == ("mine-quick", 8, 7)
    small = load_suite(path, ["seeds=3"], smoke=True, scale="quick")
    assert (small.name, small.seeds, small.training.steps, small.grid["length"]) == ("mine-quick", 3, 2, (4, 5))
    assert load_suite(path, smoke=True).grid["length"] == (7, 8)


def test_a_scale_that_is_not_there_is_refused(tmp_path):
    """Nobody gets the paper's hours of compute for want of a table; [smoke] alone makes no scale."""
    with pytest.raises(UsageError, match=r"mine\.toml has no quick scale.*\[quick\].*bandit") as caught:
        load_suite(mine(tmp_path, SMOKE), scale="quick")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="unknown scale 'quik'; did you mean 'quick'"):
        load_suite(mine(tmp_path), scale="quik")


def test_the_changes_of_a_scale_are_every_key_with_both_values(tmp_path):
    """In the order of the resolved suite; what is equal is left out, and so is the name."""
    assert scale_changes(mine(tmp_path, QUICK, SMOKE)) == (
        ("training.steps", 500, 50),
        ("seeds", 20, 8),
        ("grid.length", [7, 8], [4, 5]),
        ("cost.ms_per_step.tpo", None, 3.0),
    )


@pytest.mark.parametrize("kind", ["bandit", "contexts", "sampled", "mnist"])
def test_muon_is_refused_where_there_are_no_matrices(kind):
    """Before anything is trained, also as one value of an axis."""
    said = f"training.optimizer=muon needs matrices of a transformer; task kind {kind} takes adam, adamw, normalized"
    task, training = {"kind": kind}, document()["training"]
    assert refusal(document(task=task, training={**training, "optimizer": "muon"})) == f"tiny.toml: {said}"
    assert said in refusal(document(task=task, grid={"optimizer": ["adam", "muon"]}))
    for optimizer in ("adam", "adamw", "normalized"):
        build_suite("tiny", document(task=task, training={**training, "optimizer": optimizer}), "f")


def test_muon_is_refused_as_an_override():
    """With the words of the command line."""
    with pytest.raises(UsageError, match=r"^--set optimizer=muon: .*task kind mnist takes adam, adamw, normalized$"):
        load_suite("mnist", ["optimizer=muon"], smoke=True)


@pytest.mark.parametrize("kind", ["sequence", "tokens"])
def test_the_transformer_takes_every_optimizer(kind):
    """Muon for its matrices, the others for all of its parameters."""
    task = {"kind": kind, "reward": "sequential"}
    for optimizer in ("muon", "adam", "adamw", "normalized"):
        build_suite(
            "tiny", sequence_document(task=task, training={**document()["training"], "optimizer": optimizer}), "f"
        )
