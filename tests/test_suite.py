"""Suite files are read strictly, and a refusal says where, what, and what would be valid."""

import pytest
from harness_helpers import document, sequence_document

from tpobench.errors import UsageError
from tpobench.suite import build_suite, load_suite, parse_value, set_key


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
        (document(task={"arms": 3}), ("task.kind", "bandit, contexts, sequence")),
        (document(training=[]), ("'training'", "[training]")),
        (with_key("task", "armz", 3), ("'task.armz'", "did you mean 'task.arms'")),
        (with_key("task", "arms", 1), ("task.arms", "at least 2")),
        (with_key("task", "arms", 5.0), ("'task.arms' is 5.0", "an integer")),
        (with_key("training", "step", 3), ("'training.step'", "did you mean 'training.steps'")),
        (with_key("training", "optimizer", "mun"), ("muon, adam, normalized", "did you mean 'muon'")),
        (with_key("training", "learning_rate", float("inf")), ("training.learning_rate", "a number")),
        (with_key("training", "learning_rate", False), ("'training.learning_rate' is false", "a number")),
        (with_key("training", "matching", "prompt"), ("prompts, interactions", "did you mean 'prompts'")),
        (with_key("grid", "lenght", [3], sequence_document), ("'grid.lenght'", "did you mean 'grid.length'")),
        (with_key("grid", "length", 3, sequence_document), ("'grid.length' is 3", "a list")),
        (with_key("grid", "length", [], sequence_document), ("'grid.length'", "at least one value")),
        (with_key("grid", "length", [3, 3], sequence_document), ("'grid.length'", "each once")),
        (with_key("grid", "length", [3, 99], sequence_document), ("[grid]", "between 1 and 64")),
        (with_key("grid", "length", [True], sequence_document), ("'grid.length' is true", "an integer")),
        (with_key("hyper", "tpo", 1.0), ("'hyper.tpo'", "[hyper.tpo]")),
        (with_key("hyper", "tpo", {"epochs": 0}), ("'hyper.tpo.epochs'", "at least 1")),
        (with_key("hyper", "tpo", {"eta": [1.0]}), ("'hyper.tpo.eta'", "a number")),
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
    """hyper.RULE.NAME needs no entry in the file."""
    assert override(document(), "hyper.tpo.eta=0.5").hyper == {"tpo": {"eta": 0.5}}


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


def test_files_that_are_no_suites_are_refused(tmp_path):
    """Broken TOML, a missing file, a bad name and a huge file are each one line."""
    for name, content, word in [
        ("broken.toml", b"title = ", "not readable as TOML"),
        ("twice.toml", b"seeds = 1\nseeds = 2\n", "not readable as TOML"),
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


def test_a_broken_smoke_table_is_seen_without_smoke(tmp_path):
    """[smoke] is checked at every load."""
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "t"\nalgorithms = ["tpo"]\n[task]\nkind = "bandit"\n'
        '[training]\nsteps = 5\nepochs = 1\noptimizer = "adam"\nlearning_rate = 0.1\n[smoke]\n"training.stepz" = 1\n',
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match=r"\[smoke\].*training\.steps"):
        load_suite(path)
