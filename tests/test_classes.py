"""Which algorithms are one and the same on a suite, by gradient."""

import pytest
import torch
from harness_helpers import document, suite

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.execution.classes import TOLERANCE, classes_of, path_of, same
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import build_suite

TASK = {"kind": "sampled", "contexts": 6, "arms": 4, "candidates": 4}


def sampled(**changes):
    """A suite of few contexts under Adam, used once or four times."""
    training = {"steps": 50, "epochs": 1, "optimizer": "adam", "learning_rate": 0.3}
    return build_suite("tiny", document(task=TASK, training=training, grid={"epochs": [1, 4]}, **changes), "f")


def test_algorithms_are_one_where_all_their_gradients_are():
    """On one epoch TRL's and the paper's GRPO, and group_pg, are one; on four the clip and the KL tell them apart."""
    names = ["grpo_trl", "grpo_token_ratio", "grpo", "group_pg", "tpo"]
    classes = classes_of(sampled(), names)
    once, often = (dict(classes.by_cell)[cell] for cell in ((("epochs", 1),), (("epochs", 4),)))
    assert once == (("grpo_trl", "grpo_token_ratio", "grpo", "group_pg"), ("tpo",))
    assert often == (("grpo_trl", "grpo_token_ratio"), ("grpo",), ("group_pg",), ("tpo",))
    assert classes.members == often


def test_a_scale_is_no_difference_and_a_direction_is(monkeypatch):
    """Twice the credit of every candidate is the same step; half of the positive one is not."""
    base = ALGORITHMS["dr_grpo"]

    def scaled(up):
        def credit(groups):
            A = base.credit_for(groups)
            return 2 * A if up is None else torch.where(A > 0, up * A, A)

        return credit

    for name, up in (("twice", None), ("timid", 0.5), ("nearly", 1 + TOLERANCE / 100)):
        changed = type(base)(name, scaled(up), base.fit, compares="draws")
        monkeypatch.setitem(ALGORITHMS, name, changed)
    classes = classes_of(suite(task=TASK, algorithms=["tpo"]), ["dr_grpo", "twice", "timid", "nearly"])
    assert classes.members == (("dr_grpo", "twice", "nearly"), ("timid",))


def test_what_no_cell_serves_is_named():
    """With the reason."""
    assert classes_of(suite(), ["tpo", "gdpo"]).skipped == {"gdpo": "needs rewards, which task 'bandit' does not offer"}


def test_a_path_holds_every_gradient_step_and_lengths_do_not_count():
    """5 updates of 4 epochs give 20 unit vectors for each seed, as far as the run goes."""
    jobs = plan_runs(sampled(), ["tpo"], [0, 1]).jobs()
    path = path_of(jobs[-1])
    assert path.shape == (20, 1, 24)
    assert torch.allclose(path.norm(dim=2), torch.ones(20, 1), rtol=0, atol=1e-5)
    assert same(path, path + 0.9 * TOLERANCE / 24**0.5)
    assert not same(path, path + 1.1 * TOLERANCE / 24**0.5)
    assert not same(path, path[:5])


def test_the_list_has_a_line_for_each_class(command_line, tmp_path):
    """Of all algorithms, with the largest first; a suite that sweeps a hyperparameter has its own alone."""
    file = tmp_path / "small.toml"
    lines = ['title = "small"', 'algorithms = ["mt_grpo", "tpo+tasks"]', "[task]", 'kind = "sampled"', "contexts = 4",
             "candidates = 3", "arms = 3", "tasks = 2", "[training]", "steps = 9", "epochs = 1",
             'optimizer = "normalized"', "learning_rate = 0.1"]  # fmt: skip
    file.write_text("\n".join(lines), encoding="utf-8")
    code, out, _ = command_line("list", "algos", "--classes", str(file))
    assert code == 0
    assert "Not served" in out
    assert "tpo, tpo_length_norm" in out
    swept = command_line("list", "algos", "--classes", str(file), "--set", "hyper.task_step=0,1")[1]
    assert "Only the suite's own algorithms: its grid sweeps task_step" in swept
    assert "task_step=0.0" in swept


@pytest.mark.parametrize(
    ("words", "message"),
    [(("algos", "--set", "steps=3"), "--set changes a suite; name it"),
     (("suites", "--classes", "bandit"), "--classes is of algorithms")],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(command_line, words, message):
    """With what would work."""
    code, _, err = command_line("list", *words)
    assert code == 2
    assert message in err
