"""A plan holds every run once, fully resolved, in an order that stays balanced when cut short."""

import math

import pytest
from harness_helpers import document, sequence_document, suite

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import register
from tpobench.algorithms.fit import policy_gradient
from tpobench.check.plans import suite_of_records
from tpobench.errors import UsageError
from tpobench.identity import canonical, spec_id
from tpobench.planning.plan import interactions_of, parse_seeds, plan_runs
from tpobench.records.store import RunRecord
from tpobench.suites.load import build_suite
from tpobench.tasks.catalog import recorded_metrics
from tpobench.training.loop import train


def sequence_plan(algorithms, **changes):
    return plan_runs(build_suite("tiny", sequence_document(**changes), "f"), algorithms, [0])


def test_the_order_is_seed_major():
    """Seed 0 of every cell and rule comes before any seed 1."""
    plan = plan_runs(suite(grid={"arms": [3, 4]}))
    assert [s.seed for s in plan.specs] == [0] * 4 + [1] * 4 + [2] * 4
    assert [s.cell["arms"] for s in plan.specs[:4]] == [3, 3, 4, 4]


def test_grouped_rules_are_planned_once_under_both_matchings():
    """TPO draws its candidates either way; PPO differs and is planned twice."""
    specs = sequence_plan(["tpo", "ppo"], grid={"matching": ["prompts", "interactions"]}).specs
    assert [(s.algorithm, s.matching) for s in specs] == [("tpo", "any"), ("ppo", "prompts"), ("ppo", "interactions")]


def test_budgets_match_as_named():
    """B=6, K=4: prompts gives 6 x 1, interactions 24 x 1 with sqrt(4) times the learning rate."""
    grid = {"matching": ["prompts", "interactions"]}
    tpo, prompts, interactions = sequence_plan(["tpo", "ppo"], grid=grid).specs
    assert (tpo.task["prompts"], tpo.task["candidates"], tpo.training["learning_rate"]) == (6, 4, 0.001)
    assert (prompts.task["prompts"], prompts.task["candidates"], prompts.training["learning_rate"]) == (6, 1, 0.001)
    assert (interactions.task["prompts"], interactions.task["candidates"]) == (24, 1)
    assert math.isclose(interactions.training["learning_rate"], 0.002)
    assert interactions_of(tpo) == interactions_of(interactions) == 2 * 24
    assert interactions_of(prompts) == 2 * 6


def test_a_swept_hyperparameter_is_that_of_the_cell():
    """Cell and rule say the same value; the task, and so its noise, does not depend on it."""
    plan = plan_runs(suite(grid={"hyper.eta": [0.25, 1]}), ["tpo", "dg"], [0])
    assert [(s.algorithm, dict(s.cell), s.hyper["eta"]) for s in plan.specs] == [
        ("tpo", {"eta": 0.25}, 0.25),
        ("dg", {"eta": 0.25}, 0.25),
        ("tpo", {"eta": 1.0}, 1.0),
        ("dg", {"eta": 1.0}, 1.0),
    ]
    assert len({s.run_id for s in plan.specs}) == 4
    assert {canonical(s.task) for s in plan.specs} == {canonical(plan.specs[0].task)}


def test_a_whole_number_stays_whole_for_a_rule_that_counts():
    """Axes of numbers are floats; a rule whose default is 3 gets 5, not 5.0."""

    def best_of(groups, *, best: int = 3):
        return groups.reward * best

    register(Algorithm("best_of", best_of, policy_gradient, compares="candidates"))
    (spec,) = plan_runs(suite(grid={"hyper.best": [5]}), ["best_of"], [0]).specs
    assert (dict(spec.cell), spec.hyper, type(spec.hyper["best"])) == ({"best": 5.0}, {"best": 5}, int)


def test_a_suite_read_back_from_its_records_sweeps_the_same_axes():
    """As `check` does with a baseline: a hyperparameter is one again, settings stay settings."""
    made = suite(grid={"epochs": [1, 2], "hyper.eta": [0.5, 1.0]})
    records = [
        RunRecord(id=s.run_id, spec=s.as_dict(), status="ok", reporting=made.reporting)
        for s in plan_runs(made, ["tpo"], [0]).specs
    ]
    back = suite_of_records("tiny", records)
    assert dict(back.grid) == {"epochs": (1, 2), "hyper.eta": (0.5, 1.0)}
    assert [dict(c.axes) for c in back.cells] == [dict(c.axes) for c in made.cells]


def test_no_seeds_plan_nothing():
    """Neither a run nor a skipped one."""
    plan = plan_runs(suite(algorithms=["tpo", "tpo_token"]), None, [])
    assert (plan.specs, plan.skipped) == ((), ())


def test_an_axis_that_a_rule_does_not_have_is_refused():
    """Before the first run, with what the rule does have; and a value that the rule refuses is refused here too."""
    with pytest.raises(UsageError, match=r"hyper\.eta, which algorithm 'grpo' does not have \(it has clip, epsilon"):
        plan_runs(suite(grid={"hyper.eta": [0.5, 1.0]}), ["tpo", "grpo"])
    with pytest.raises(UsageError, match=r"algorithm 'tpo': hyperparameter 'eta' is -1\.0; give a number"):
        plan_runs(suite(grid={"hyper.eta": [1.0, -1.0]}), ["tpo"])


def test_epochs_are_capped_by_the_rule_unless_the_suite_says_otherwise():
    """DG allows one epoch; [algorithm.dg] epochs overrides it."""
    assert [s.training["epochs"] for s in sequence_plan(["tpo", "dg"]).specs] == [4, 1]
    assert sequence_plan(["dg"], algorithm={"dg": {"epochs": 3}}).specs[0].training["epochs"] == 3
    assert "epochs" not in sequence_plan(["dg"], algorithm={"dg": {"epochs": 3}}).specs[0].hyper


def test_an_algorithm_may_have_a_learning_rate_of_its_own():
    """[algorithm.dg] learning_rate is that of dg alone; matched interactions multiply it by the root of K as any."""
    tuned = sequence_plan(["tpo", "dg"], algorithm={"dg": {"learning_rate": 0.25}})
    rates = {s.algorithm: s.training["learning_rate"] for s in tuned.specs}
    (alike,) = {s.training["learning_rate"] for s in sequence_plan(["tpo", "dg"]).specs}
    assert rates == {"tpo": alike, "dg": 0.25}
    assert "learning_rate" not in tuned.specs[-1].hyper
    matched = sequence_document(algorithm={"dg": {"learning_rate": 0.25}})
    matched["training"]["matching"] = "interactions"
    (spec,) = plan_runs(build_suite("tiny", matched, "f"), ["dg"], [0]).specs
    assert spec.training["learning_rate"] == pytest.approx(0.25 * matched["task"]["candidates"] ** 0.5)


def test_a_rule_that_a_task_cannot_serve_is_skipped_with_the_reason():
    """The sequence task has no labels, and one candidate is nothing to compare."""
    plan = sequence_plan(["ce", "ppo"])
    assert [s.algorithm for s in plan.specs] == ["ppo"]
    assert [(s.algorithm, s.reason) for s in plan.skipped] == [
        ("ce", "needs label, which task 'sequence' does not offer")
    ]
    alone = sequence_plan(["tpo"], task={"kind": "sequence", "candidates": 1})
    assert alone.specs == ()
    assert "candidates is 1" in alone.skipped[0].reason


def test_equal_settings_have_equal_ids():
    """1 and 1.0 agree, the order of keys does not count, and any setting that differs changes the id."""

    def ids(**changes):
        return [s.run_id for s in plan_runs(suite(**changes), ["tpo"], [0]).specs]

    training = document()["training"]
    assert ids(training={**training, "learning_rate": 1}) == ids(training={**training, "learning_rate": 1.0})
    assert ids(hyper={"tpo": {"eta": 2}}) == ids(hyper={"tpo": {"eta": 2.0}})
    assert ids(hyper={"tpo": {"eta": 1}}) == ids()  # the published value, written out
    assert spec_id({"a": 1, "b": 2}) == spec_id({"b": 2, "a": 1})
    base = ids()
    for changes in (
        {"version": 2},
        {"hyper": {"tpo": {"eta": 2.0}}},
        {"task": {"kind": "bandit", "arms": 6, "samples": 4}},
        *({"training": {**training, k: v}} for k, v in {"steps": 5, "threads": 2, "seed_batch": 2}.items()),
        {"training": {**training, "dtype": "float64"}},
    ):
        assert ids(**changes) != base
    assert ids(title="other", notes="n", seeds=9, report={"window": 3}) == base


def test_a_job_trains_the_whole_aligned_block():
    """Wanting seeds 5 and 6 of blocks of 4 trains 4 to 7, in one job for both."""
    plan = plan_runs(suite(training={**document()["training"], "seed_batch": 4}), ["tpo"], [1, 5, 6])
    first, second = plan.jobs()
    assert (first.seeds, [s.seed for s in first.specs]) == ((0, 1, 2, 3), [1])
    assert (second.seeds, [s.seed for s in second.specs]) == ((4, 5, 6, 7), [5, 6])
    (left,) = plan.jobs(done=[plan.specs[0].run_id, plan.specs[1].run_id])
    assert ([s.seed for s in left.specs], left.seeds) == ([6], (4, 5, 6, 7))


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("0-2", [0, 1, 2]), ("1,3", [1, 3]), ("5-6,2", [2, 5, 6]), ("7,", None),
                        ("0", None), ("-1", None), ("a", None), ("3-1", None), ("99999999999", None), ("٣", None)],
)  # fmt: skip
def test_seeds_are_a_count_a_range_or_a_list(text, seeds):
    """Anything else is refused with the three forms."""
    if seeds is None:
        with pytest.raises(UsageError, match=r"a count such as 20, a range such as 0-9, or a list such as 1,3"):
            parse_seeds(text)
    else:
        assert parse_seeds(text) == seeds


def test_unknown_names_are_refused_at_plan_time():
    """Rules, hyperparameters and devices are checked before the first run."""
    with pytest.raises(UsageError, match="did you mean 'reinforce'"):
        plan_runs(suite(), ["reinforc"])
    with pytest.raises(UsageError, match="unknown algorithm 'tpoo'"):
        plan_runs(suite(hyper={"tpoo": {"eta": 1.0}}))
    with pytest.raises(UsageError, match="unknown hyperparameter 'etta'"):
        plan_runs(suite(hyper={"tpo": {"etta": 1.0}}))
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        plan_runs(suite(), device="gpu")


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    """The message says what would work."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cpu"):
        plan_runs(suite(), device="cuda")


def test_a_plan_that_no_machine_could_hold_is_refused():
    """Before it is made: a slip in a seed count must not fill the memory."""
    with pytest.raises(UsageError, match="suite 'tiny': 2,000,000 runs, at most 1,000,000 make a plan"):
        plan_runs(suite(seeds=10**6))
    with pytest.raises(UsageError, match="--seeds 0-2000000000: names more than 1,000,000 seeds"):
        parse_seeds("0-2000000000")


KINDS = {
    "bandit": {"arms": 3, "samples": 4},
    "contexts": {"contexts": 3, "arms": 3},
    "sampled": {"contexts": 3, "arms": 3, "candidates": 2},
    "mnist": {"data": "digits", "contexts": 3, "hidden": 2},
    "sequence": {"length": 2, "prompts": 3, "candidates": 2},
    "tokens": {"length": 2, "prompts": 3, "candidates": 2, "reward": "sequential"},
}


@pytest.mark.parametrize("diagnostics", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_knows_what_its_runs_record(kind, diagnostics):
    """The metrics that a suite may be scored by are those in the curves."""
    training = {"steps": 2, "epochs": 1, "optimizer": "adam", "learning_rate": 0.1, "diagnostics": diagnostics}
    rules = ["tpo_token" if kind == "tokens" else "reinforce"]
    if kind == "sequence":
        rules.append("tpo")
    tiny = build_suite("tiny", document(task={"kind": kind, **KINDS[kind]}, training=training, algorithms=rules), "f")
    for job in plan_runs(tiny, seeds=[0]).jobs():
        spec = job.specs[0]
        curve = {m.metric for m in train(job)} - {"initial_success"}
        assert curve == set(recorded_metrics(spec.task, diagnostics=diagnostics))


@pytest.mark.parametrize(
    ("doc", "metric", "said"),
    [
        (document(), "nope", "is not recorded in runs of tpo; they record error, misalignment"),
        (sequence_document(), "informative", "is not recorded in runs of ppo; they record error, gradient_norm"),
        (sequence_document(), "all_fail", "runs of tpo; it is with training.diagnostics=true; they record error,"),
    ],
)
def test_a_metric_that_is_not_recorded_is_refused(doc, metric, said):
    """Before anything is trained for nothing; a rule with one rollout per prompt has no informative groups."""
    tiny = build_suite("tiny", {**doc, "report": {"metric": metric}}, "f")
    with pytest.raises(UsageError, match=f"^suite 'tiny': report.metric={metric} ") as caught:
        plan_runs(tiny)
    assert said in str(caught.value)


def test_a_recorded_metric_is_planned():
    """Also one that only some rules of a suite record, where these are chosen, or that diagnostics add."""
    assert plan_runs(suite(report={"metric": "misalignment"})).specs
    grouped = build_suite("tiny", sequence_document(report={"metric": "informative"}), "f")
    assert plan_runs(grouped, ["tpo"]).specs
    training = {**sequence_document()["training"], "diagnostics": True}
    examined = build_suite("tiny", sequence_document(report={"metric": "all_fail"}, training=training), "f")
    assert plan_runs(examined).specs
