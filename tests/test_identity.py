"""A run is what was chosen for it: what is off at its default is no part of its id, random numbers and folder."""

import dataclasses
import inspect
import json
from pathlib import Path

import pytest
from harness_helpers import document, recorded_and_planned, suite

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.fit import policy_gradient
from tpobench.check.baseline import new_baseline
from tpobench.check.plans import changed_defaults, suite_of_records
from tpobench.errors import UsageError
from tpobench.identity import NEUTRAL
from tpobench.planning.plan import RunSpec, plan_runs
from tpobench.policies.noise import Noise
from tpobench.records.store import RunRecord, Store, other_settings
from tpobench.suites.load import ReportSettings, Training, build_suite, load_suite
from tpobench.tasks.catalog import TASKS, streams
from tpobench.training.loop import make_task, train

ROOT = Path(__file__).parent.parent
PACKED = sorted((ROOT / "results").glob("**/*.jsonl"))


def wider(settings, name):
    """The dataclass with one more field, off at its default."""
    added = (name, float, dataclasses.field(default=0.0, metadata=NEUTRAL))
    return dataclasses.make_dataclass(settings.__name__, [added], bases=(settings,), frozen=True)


def with_option(function, name):
    """The credit or fit with one more hyperparameter, off at its default."""

    def called(*args, **hyper):
        hyper.pop(name, None)
        return function(*args, **hyper)

    before = inspect.signature(function)
    option = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
    called.__signature__ = before.replace(parameters=[*before.parameters.values(), option])
    called.__annotations__ = {name: float | None}
    return called


@pytest.fixture
def grown(monkeypatch):
    """tpobench after a commit that adds an option to every rule, task, [training], [report] and spec."""
    for name, rule in list(ALGORITHMS.items()):
        credit, fit = with_option(rule.credit, "later_credit"), with_option(rule.fit, "later_fit")
        monkeypatch.setitem(ALGORITHMS, name, dataclasses.replace(rule, credit=credit, fit=fit))
    for kind, settings in list(TASKS.items()):
        monkeypatch.setitem(TASKS, kind, wider(settings, "later"))
    for name, settings in (("Training", Training), ("ReportSettings", ReportSettings)):
        grown_settings = wider(settings, f"later_{name.lower()}")
        for module in ("suite_model", "suite_reading", "check.plans"):
            monkeypatch.setattr(f"tpobench.{module}.{name}", grown_settings)
    monkeypatch.setattr("tpobench.check.plans.TRAINING", {f.name for f in dataclasses.fields(Training)})
    monkeypatch.setattr("tpobench.planning.plan.RunSpec", wider(RunSpec, "later_spec"))


@pytest.mark.parametrize("path", PACKED, ids=lambda p: p.name)
@pytest.mark.usefixtures("grown")
def test_an_option_that_is_off_changes_no_committed_id(path):
    """Whatever is added to rules, tasks, [training] and specs, every run that git holds is planned under its id."""
    recorded, planned = recorded_and_planned(path)
    assert recorded
    assert recorded <= planned


@pytest.mark.usefixtures("grown")
def test_an_option_that_is_set_makes_another_run():
    """It is written into the spec, one key more than the published run has."""
    (before,) = plan_runs(suite(), ["tpo"], [0]).specs
    training = {**document()["training"], "later_training": 1}
    for part, name, changed in (
        ("task", "later", suite(task={"kind": "bandit", "arms": 5, "samples": 4, "later": 0.5})),
        ("training", "later_training", suite(training=training)),
        ("hyper", "later_fit", suite(hyper={"tpo": {"later_fit": 0.28}})),
    ):
        (after,) = plan_runs(changed, ["tpo"], [0]).specs
        assert after.run_id != before.run_id
        assert getattr(after, part).keys() - getattr(before, part).keys() == {name}


@pytest.mark.usefixtures("grown")
def test_an_option_can_be_swept():
    """The level at which a setting is off is a cell, and the task there is the task without it."""
    swept = suite(grid={"later": [0, 0.5], "hyper.later_credit": [0.1, 0.2]})
    specs = plan_runs(swept, ["tpo"], [0]).specs
    assert [(s.cell, s.task.get("later"), s.hyper["later_credit"]) for s in specs] == [
        ({"later": 0.0, "later_credit": 0.1}, None, 0.1),
        ({"later": 0.0, "later_credit": 0.2}, None, 0.2),
        ({"later": 0.5, "later_credit": 0.1}, 0.5, 0.1),
        ({"later": 0.5, "later_credit": 0.2}, 0.5, 0.2),
    ]


def streams_of(kind):
    """Role -> the first number of its stream for seed 3 at step 0, for every role that the task draws from."""
    first = {}

    class Noted(Noise):
        def generator(self, role, seed, step):
            first.setdefault(role.partition("/")[0], super().generator(role, 3, 0).random())
            return super().generator(role, seed, step)

    task = make_task("streams", {"kind": kind, **TINY[kind]}, (3,), dtype="float32", device="cpu")
    noted = Noted("streams", task.noise.cell, (3,))
    task = type(task)(task.settings, noted)
    policy = task.make_policy()
    task.facts(policy)
    task.rollout(policy, 0)
    return first


TINY = {
    "bandit": {"arms": 3, "samples": 4, "baseline": 0.5},
    "contexts": {"contexts": 3, "arms": 3},
    "sampled": {"contexts": 3, "arms": 3, "candidates": 2, "skew": 1.0, "handicap": 0.0},
    "mnist": {"data": "digits", "data_sha256": "", "contexts": 3, "hidden": 2},
    "sequence": {
        "vocabulary": 2, "length": 2, "target": "copy", "reward": "sequential", "prompts": 3, "candidates": 2,
    },
    "tokens": {"vocabulary": 2, "length": 2, "target": "copy", "reward": "sequential", "prompts": 3, "candidates": 2},
}  # fmt: skip
STREAMS = {
    "bandit": {"action": 0.6594618765099377},
    "contexts": {"logits": 0.6228297035753704},
    "sampled": {"logits": 0.38560095891506074, "action": 0.5660498941812233},
    "mnist": {"init": 0.9267835007545407, "image": 0.2509924105647675, "action": 0.03287794895481955},
    "sequence": {
        "init": 0.31538782605180626, "probe": 0.16918966254166357, "prompt": 0.3948973252739746,
        "action": 0.4867353402958744,
    },
    "tokens": {
        "init": 0.31538782605180626, "probe": 0.16918966254166357, "prompt": 0.3948973252739746,
        "action": 0.4867353402958744, "token": 0.03201732586411288,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", TINY)
def test_every_random_stream_is_pinned(kind):
    """A role's numbers depend on its name and the chosen settings: a role or a setting more leaves the others alone."""
    assert streams_of(kind) == STREAMS[kind]


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.usefixtures("grown")
def test_an_option_that_is_off_changes_no_random_stream(kind):
    """Neither left out nor written out at its default; one that is set does."""
    assert streams_of(kind) == STREAMS[kind]
    task = {"kind": kind, **TINY[kind]}
    assert streams({**task, "later": 0.0}) == streams(task) != streams({**task, "later": 0.5})


def test_what_is_pinned_is_there():
    """No kind is dropped; one that is added pins its numbers beside its own tests."""
    assert STREAMS.keys() == TINY.keys() <= TASKS.keys()


def test_a_folder_does_not_mind_an_option_that_is_off(grown, tmp_path, monkeypatch):
    """meta.json from before it was known is that of a suite without it, and of no suite that sets it."""
    del grown
    monkeypatch.undo()
    old = suite().as_dict()
    Store(tmp_path).open(old)
    text = (tmp_path / "meta.json").read_bytes()
    monkeypatch.setitem(TASKS, "bandit", wider(TASKS["bandit"], "later"))
    Store(tmp_path).open(suite().as_dict())
    assert (tmp_path / "meta.json").read_bytes() == text
    assert other_settings(old, {**old, "task": {**old["task"], "later": 0.0}}) is None
    with pytest.raises(UsageError, match=r"task\.later = its default, these would have 0\.5"):
        Store(tmp_path).open(suite(task={**document()["task"], "later": 0.5}).as_dict())


def test_a_folder_whose_suite_called_the_settings_of_one_algorithm_hyper_goes_on():
    """[algorithm.NAME] was [hyper.NAME] before; equal settings are one experiment under both names, others are not."""
    tuned = load_suite("bandit", ["algorithm.tpo.eta=0.5"]).as_dict()
    before = {("hyper" if k == "algorithm" else k): v for k, v in tuned.items()}
    assert other_settings(before, tuned) is None
    assert other_settings(before, load_suite("bandit").as_dict()) == ("algorithm.tpo.eta", "0.5", "its default")


def test_a_hyperparameter_without_a_value_takes_what_its_annotation_says():
    """A finite number, or the text, truth or whole number that is written there; never a value of another kind."""

    def credit(groups, *, high: float | None = None, word: str | None = None, on: bool | None = None, n=None):
        del high, word, on, n
        return groups.reward

    rule = Algorithm("optional", credit, policy_gradient)
    assert rule.hyperparameters == {"high": None, "word": None, "on": None, "n": None}
    assert rule.with_hyper(high=0.28, word="x", on=False, n=1).hyper == {"high": 0.28, "word": "x", "on": False, "n": 1}
    assert rule.with_hyper(high=0.28).with_hyper(high=None).hyperparameters["high"] is None
    for hyper, needed in (
        ({"high": "0.28"}, "a finite number"), ({"high": float("inf")}, "a finite number"), ({"word": 1}, "a text"),
        ({"on": 1}, "true or false"), ({"n": True}, "a finite number"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"algorithm 'optional': hyperparameter .* give {needed}"):
            rule.with_hyper(**hyper)
    with pytest.raises(UsageError, match="'eta' is None; give a finite number"):
        ALGORITHMS["tpo"].with_hyper(eta=None)


def test_what_a_spec_does_not_name_is_off(monkeypatch):
    """A rule whose published value is set later trains the runs that it made without, as they were."""

    def credit(groups, *, factor: float | None = None):
        return groups.reward * (1.0 if factor is None else factor)

    monkeypatch.setitem(ALGORITHMS, "scaled", Algorithm("scaled", credit, policy_gradient, compares="candidates"))
    plan = plan_runs(suite(), ["scaled"], [0])
    (job,) = plan.jobs()
    before = list(train(job))
    published = dataclasses.replace(ALGORITHMS["scaled"], hyper={"factor": -1.0})
    monkeypatch.setitem(ALGORITHMS, "scaled", published)
    assert list(train(job)) == before
    (other,) = plan_runs(suite(), ["scaled"], [0]).jobs()
    assert other.specs[0].hyper == {"factor": -1.0}
    assert list(train(other)) != before


def test_an_optional_hyperparameter_is_set_and_swept_on_the_command_line(monkeypatch):
    """`--set hyper.RULE.NAME=` and `--set hyper.NAME=` with commas, 1 and 1.0 alike."""

    def credit(groups, *, high: float | None = None):
        del high
        return groups.reward

    monkeypatch.setitem(ALGORITHMS, "optional", Algorithm("optional", credit, policy_gradient))

    def hyper(*overrides):
        return [s.hyper for s in plan_runs(load_suite("bandit", overrides), ["optional"], [0]).specs]

    assert hyper() == [{}]
    assert hyper("hyper.optional.high=1") == hyper("hyper.optional.high=1.0") == [{"high": 1.0}]
    assert hyper("hyper.high=0.2,0.28") == [{"high": 0.2}, {"high": 0.28}]
    with pytest.raises(UsageError, match="'high' is 'none'; give a finite number"):
        hyper("hyper.optional.high=none")


def test_a_suite_says_what_was_chosen():
    """`show suite` and meta.json leave out what is off."""
    assert "diagnostics" not in suite().as_dict()["training"]
    examined = suite(training={**document()["training"], "diagnostics": True})
    assert examined.as_dict()["training"]["diagnostics"] is True
    assert build_suite("tiny", {**json.loads(json.dumps(document())), "training": examined.as_dict()["training"]}, "f")


def test_a_check_says_that_an_option_was_off_when_its_baseline_was_made(monkeypatch):
    """The baseline's runs are trained as they were, whatever is published since."""

    def credit(groups, *, factor: float | None = None):
        return groups.reward * (1.0 if factor is None else factor)

    rule = Algorithm("scaled", credit, policy_gradient, compares="candidates")
    monkeypatch.setitem(ALGORITHMS, "scaled", rule)
    records = records_of(plan_runs(suite(), ["scaled"], [0, 1]))
    baseline = new_baseline(Path("b.jsonl"), records, None)
    assert changed_defaults(baseline) == []
    monkeypatch.setitem(ALGORITHMS, "scaled", dataclasses.replace(rule, hyper={"factor": 2.0}))
    assert changed_defaults(baseline) == ["scaled is run with factor = off as in the baseline, its default is 2.0"]


@pytest.mark.usefixtures("grown")
def test_a_suite_read_back_from_its_records_knows_the_axis_of_an_option():
    """As a setting of the task, also where the first of its levels is off and in no spec."""
    made = suite(grid={"later": [0, 0.5]})
    back = suite_of_records("tiny", records_of(plan_runs(made, ["tpo"], [0])))
    assert dict(back.grid) == {"later": (0.0, 0.5)}
    assert [s.run_id for s in plan_runs(back, ["tpo"], [0]).specs] == [
        s.run_id for s in plan_runs(made, ["tpo"], [0]).specs
    ]


def records_of(plan):
    """A finished run for every spec."""
    return [RunRecord(id=s.run_id, spec=s.as_dict(), status="ok", reporting=plan.suite.reporting) for s in plan.specs]
