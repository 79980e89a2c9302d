"""What settles DG at length 7: the reference's draws reach our engine, and the table says what its runs say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.noise import Noise
from tpobench.policies.transformer import inverse_cdf
from tpobench.tasks.catalog import SequenceSettings
from tpobench.tasks.sequence import SequenceTask
from tpobench.training.loop import loss_gradient, make_optimizer

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import dg_length_7 as study
from dg_length_7 import AUTHORS, BOTH, EXTRACT, NAMES, ReferenceDraws

TINY = SequenceSettings(2, 3, reward="terminal", prompts=4, candidates=1)


def test_gumbel_noise_of_two_tokens_is_a_uniform_of_the_inverted_cdf():
    """argmax_a log p_a + g_a is the token that inversion takes at u = sigma(g_1 - g_0)."""
    rng = np.random.default_rng(0)
    log_p = torch.from_numpy(rng.normal(size=(5000, 2)) * 3).log_softmax(-1)
    gumbel = torch.from_numpy(rng.gumbel(size=(5000, 2)))
    taken = inverse_cdf(log_p, (gumbel[:, 1] - gumbel[:, 0]).sigmoid())
    assert taken.tolist() == (log_p + gumbel).argmax(-1).tolist()
    assert 0.3 < taken.double().mean() < 0.7


def test_the_reference_s_prompts_and_uniforms_are_those_of_the_rollout():
    """Prompts as drawn, and uniforms of 0 take token 0 everywhere; other draws are our own."""
    prompts = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]])
    noise = ReferenceDraws(
        "x", "", (5,), draw=lambda seed, step: (prompts * (seed == 5) * (step == 2), np.zeros((4, 3)))
    )
    task = SequenceTask(TINY, noise)
    rollout = task.rollout(task.make_policy(), 2)
    assert rollout.inputs.prompts.tolist() == [prompts.tolist()]
    assert rollout.groups.reward[0, :, 0].tolist() == [0, 0, 0, 1]  # reversed, 000 is right for the last prompt only
    own = SequenceTask(TINY, Noise("x", "", (5,)))
    assert torch.equal(task.make_policy().theta, own.make_policy().theta)


def test_a_batch_without_a_success_gives_no_gradient_and_momentum_goes_on():
    """DG's advantages are 0 then: nothing moves before the first success, and Muon's momentum goes on after one."""
    task, dg = SequenceTask(TINY, Noise("x", "", (0,))), ALGORITHMS["dg"]
    policy = task.make_policy()
    optimizer, start = make_optimizer("muon", 1e-3, policy), policy.theta.clone()

    def update(reward):
        rollout = task.rollout(policy, 0)
        groups = rollout.groups
        groups.reward.copy_(torch.tensor(reward).view(1, 4, 1))
        groups.baseline.copy_(groups.reward.mean((1, 2), keepdim=True))
        gradient = loss_gradient(task, policy, dg, rollout, dg.credit_for(groups), at_snapshot=True)
        flat = torch.cat([g.flatten(1) for g in gradient], dim=1)
        optimizer.step(policy.theta, flat)
        return flat

    assert not update([0.0, 0.0, 0.0, 0.0]).any()
    assert torch.equal(policy.theta, start)
    assert update([0.0, 1.0, 0.0, 0.0]).any()
    moved = policy.theta.clone()
    assert not update([0.0, 0.0, 0.0, 0.0]).any()
    assert (policy.theta - moved).norm() > 0.1 * (moved - start).norm()


def test_runs_that_end_stuck_are_counted_by_fishers_test():
    """4 of 12 against 0 of 20: p = .0138, by hand C(12, 4) / C(32, 4) and nothing as rare on the other side."""
    x, y = np.repeat([0.9, 0.1], [4, 8]), np.zeros(20)
    assert study.fisher(x, y) == pytest.approx(495 / 35960)


def test_the_extract_holds_the_runs_of_the_authors_code():
    """Twelve seeds, four of which end at 60 % or more; ours follow each for a while, from its start on its draws."""
    curves = study.extracted(EXTRACT)
    final = curves[AUTHORS][:, -1]
    assert (len(final), round(100 * final.mean()), (final >= 0.6).sum()) == (12, 37, 4)
    assert EXTRACT.stat().st_size < 100_000
    rows = [line.split("|")[1:-1] for line in study.partings(EXTRACT).splitlines()[2:]]
    assert sorted(int(row[1]) for row in rows)[:2] == [22, 98]
    assert all(int(row[2]) > 0 for row in rows)


def test_the_table_has_a_row_for_every_arm_and_one_for_all_of_ours():
    """Half way and at the end, ours against the reference's; runs that stop half way have no end."""
    theirs = np.ones((3, 2000)) * np.array([[0.0], [0.9], [0.2]])
    curves = {AUTHORS: theirs, BOTH: np.full((3, 2000), 0.5), "plain": np.full((2, 1000), 0.75)}
    native = np.ones((3, 2000)) * np.array([[0.0], [0.7], [1.0]])
    text = study.table({"ours, plain kernel": np.zeros((4, 2000)), "ours, native kernel": native}, curves)
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in text.splitlines()[2:]}
    assert list(rows)[:2] == [NAMES[AUTHORS], "ours, plain kernel"]
    assert list(rows)[3:] == ["ours, both kernels", NAMES[BOTH], NAMES["plain"]]
    assert rows["ours, both kernels"][3:5] == ["5/7", "2/7"]
    assert rows[NAMES[AUTHORS]][1:2] == rows[NAMES[AUTHORS]][4:5] == ["1/3"]
    assert [cell.strip(" |") for cell in rows[NAMES["plain"]][1:]] == ["2/2", *[""] * 6]


def test_runs_are_added_to_an_extract_by_seed(tmp_path):
    """New seeds stand beside the old, and a seed that is run again replaces its curve."""
    path = tmp_path / "x.npz"
    study.add(path, AUTHORS, [4], np.array([[1, 2]], dtype=np.uint8))
    study.add(path, AUTHORS, [2, 4], np.array([[3, 4], [5, 6]], dtype=np.uint8))
    arrays = np.load(path)
    assert arrays[f"{AUTHORS}/seeds"].tolist() == [2, 4]
    assert arrays[f"{AUTHORS}/wrong"].tolist() == [[3, 4], [5, 6]]
