"""A small language model on word problems: ends and masks, problems, the warm start, and what is measured."""

import dataclasses

import pytest
import torch

from tpobench.policies.language import END, GREEDY, LanguagePolicy
from tpobench.policies.noise import Noise
from tpobench.tasks.catalog import TinyMathSettings
from tpobench.tasks.graders import is_right
from tpobench.tasks.tiny_math import real_tokens
from tpobench.tasks.warm_start import Recipe, _read, _write, supervised, warm_start
from tpobench.tasks.word_problems import (
    TOKEN,
    WORDS,
    Problem,
    answer_length,
    decode,
    encode,
    mistaken,
    problem_sets,
    prompt_length,
    solution,
)
from tpobench.training.loop import make_task

SHORT = {"warm_steps": 3, "prompts": 4, "candidates": 5, "held_out": 6, "samples": 2}
TWO = Problem(8, (2, -3))


class Endless(LanguagePolicy):
    """The same network, to which an end is a token like others."""

    end = None


@pytest.fixture(scope="module")
def drawn():
    """A task of two seeds, its policy, and a rollout; ends are made likely, so that lengths differ."""
    task = TinyMathSettings(**SHORT).make(Noise("s", "c", (3, 5), dtype=torch.float64))
    policy = task.make_policy()
    with torch.no_grad():
        policy.at["head_bias"][:, END] += 2.5
    return task, policy, task.rollout(policy, 0)


def test_a_solution_is_in_gsm8k_s_format():
    """A line for each operation, then the mark and the number; read back and graded as right."""
    text = "8 + 2 = 10\n10 - 3 = 7\n#### 7"
    assert solution(TWO) == decode(encode(text)) == text
    assert len(encode(text)) == answer_length(2)
    assert is_right(text, "7")


def test_mistakes_are_wrong_and_of_the_vocabulary():
    """Whatever kind of mistake is drawn."""
    stream = Noise("s", "c", (0,)).generator("mistake", 0, 0)
    texts = {mistaken(TWO, stream) for _ in range(100)}
    assert len(texts) > 3
    assert [t for t in texts if is_right(t, "7")] == []
    assert max(len(encode(t)) for t in texts) <= answer_length(2)


def test_held_out_problems_are_not_trained_on():
    """No problem is in both sets, and every held-out one has several operations; prompts end where answers begin."""
    trained, evaluated = problem_sets(2)
    assert set(trained.problems) & set(evaluated.problems) == set()
    assert min(len(p.changes) for p in evaluated.problems) == 2
    assert trained.prompts.shape[1] == prompt_length(2)
    assert (trained.prompts[:, -1] == TOKEN["?"]).all()


def test_the_end_is_a_token_of_the_completion_and_nothing_after_it_is():
    """The first end counts, later ones do not; a completion without one is real throughout."""
    tokens = torch.tensor([[5, END, END, 7], [END, 3, 3, 3], [4, 4, 4, 4]])
    assert real_tokens(tokens).tolist() == [[True, True, False, False], [True, False, False, False], [True] * 4]


def test_a_completion_that_was_cut_is_not_rewarded(drawn):
    """The right number without an end is 0, with it 1."""
    task, *_ = drawn
    right = encode(solution(TWO))
    cut = [*right[:-1], TOKEN["."]]
    assert task.reward(torch.tensor([[[right, cut]]]), [["7"]]).tolist() == [[[1.0, 0.0]]]


def test_log_probs_of_completions_are_those_of_each_alone(drawn):
    """Shared prompts and prefixes, ends that leave the batch, and padding change nothing: one forward a completion."""
    task, policy, rollout = drawn
    g, tokens = rollout.groups, torch.from_numpy(rollout.inputs.paths.actions)
    lengths = g.mask.sum(-1)
    assert lengths.min() < lengths.max()
    single = Endless(policy.theta, len(WORDS), prompt_length(2))
    for k in range(g.reward.shape[2]):
        tree = single.pack(single.paths(rollout.inputs.prompts, tokens[:, :, k : k + 1]))
        logp = single.log_prob_table(tree).gather(1, tree.index).view(tree.shape).squeeze(2)
        torch.testing.assert_close(g.old_logp[:, :, k], logp.detach() * g.mask[:, :, k], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(task.logp(policy, rollout, None).detach(), g.old_logp, rtol=1e-9, atol=1e-9)


def test_greedy_takes_the_most_probable_token(drawn):
    """At every state of the greedy completion, and beside sampled candidates as alone."""
    task, policy, rollout = drawn
    T = rollout.groups.mask.shape[-1]
    uniform = torch.full((2, 4, 1, T), GREEDY, dtype=torch.float64)
    tokens, log_pi = policy.walk(rollout.inputs.prompts, uniform)
    real = real_tokens(tokens)
    assert torch.equal(tokens[real], log_pi.argmax(-1)[real])
    assert task.greedy_reward(policy, rollout).shape == (2, 4)


def test_what_explains_learning_is_measured(drawn):
    """Length, clipped share, entropy and p_old by hand from the rollout's own log-probs."""
    task, policy, rollout = drawn
    step = dataclasses.make_dataclass("Step", ["rollout"])(rollout)
    measured, g = task.examine(policy, step), rollout.groups
    torch.testing.assert_close(measured["length"], g.mask.sum(-1).mean((1, 2)))
    p_old = g.old_logp.sum(-1).softmax(-1)
    torch.testing.assert_close(measured["largest_p_old"], p_old.max(-1).values.mean(1))
    assert (measured["effective_size"] <= 5).all()
    assert (measured["entropy"] > 0).all()
    cut = ~(torch.from_numpy(rollout.inputs.paths.actions) == END).any(-1)
    torch.testing.assert_close(measured["clipped"], cut.double().mean((1, 2)))


def test_the_warm_start_is_the_same_for_every_seed_and_kept(tmp_path):
    """Made twice it has the same bytes; its file is read back, and a damaged one is not."""
    recipe = Recipe(2, 0.5, 3)
    theta = supervised(recipe)
    assert torch.equal(theta, warm_start(recipe))
    path = tmp_path / "warm" / "start.npy"
    _write(path, theta)
    read = _read(path)
    assert read is not None
    assert torch.equal(read, theta)
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    assert _read(path) is None
    assert _read(tmp_path / "none") is None


def test_its_random_streams_are_pinned():
    """Which problems are asked and what is sampled depends on the roles and the settings but the budget and grader."""
    task = {"kind": "tiny_math", **SHORT, "operations": 2, "right": 0.2, "grader": "strict"}
    for changes in ({}, {"candidates": 9, "prompts": 7, "grader": "flexible"}):
        noise = make_task("streams", task | changes, (3,), dtype="float32", device="cpu").noise
        first = {role: noise.generator(role, 3, 0).random() for role in ("prompt", "action", "held_out")}
        assert first == {
            "prompt": 0.030391794036389363, "action": 0.7900371096294163, "held_out": 0.6968188406319202,
        }  # fmt: skip
