"""A pretrained causal model as a policy: prompts in common, padding and ends change no log-prob."""

import dataclasses
import re

import pytest
import torch

pytest.importorskip("transformers")

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.errors import DataUnavailable
from tpobench.execution.engine import execute
from tpobench.execution.inline import Inline
from tpobench.planning.plan import plan_runs
from tpobench.policies.causal import CausalPolicy, Weights
from tpobench.policies.noise import Noise
from tpobench.policies.pretrained import _random, pretrained
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import LanguageSettings, task_settings
from tpobench.tasks.problems import problems_of
from tpobench.training.loop import loss_gradient

PROMPTS = [[5, 6, 7], [9], [20, 21, 22, 23, 24]]
NOISE = Noise("s", "c", (0, 1), dtype=torch.float64)
SMALL = {"precision": "training", "prompts": 5, "candidates": 3, "new_tokens": 6}
SMOKE = task_settings(load_suite("smol_words", smoke=True).task)
RANKED = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64).expand(2, 5, 3)


@pytest.fixture(scope="module")
def policy():
    """Two seeds, moved from the model by factors of both kinds."""
    policy = CausalPolicy.initial(NOISE, pretrained("random", torch.float64, "cpu"), 2, 4.0)
    with torch.no_grad():
        policy.theta.add_(0.3 * torch.arange(1, policy.theta.shape[1] + 1).sin())
    return policy


@pytest.fixture(scope="module")
def drawn(policy):
    """Completions of different lengths."""
    return policy.sample(1, PROMPTS, NOISE.uniform("u", 0, (3, 4, 6))[1], torch.arange(12))


def test_log_probs_are_those_of_each_completion_alone(policy, drawn):
    """One forward over prompt and completion, without padding or anything kept; sampler and scorer agree."""
    assert drawn.mask.sum(-1).min() < drawn.mask.sum(-1).max()
    scores = policy.score(1, PROMPTS, drawn.tokens, drawn.mask)
    for b, prompt in enumerate(PROMPTS):
        for k in range(4):
            tokens = drawn.tokens[b, k][drawn.mask[b, k] > 0]
            logits = policy.weights.module(input_ids=torch.tensor([[*prompt, *tokens.tolist()]])).logits[0]
            log_pi = logits.log_softmax(-1)[len(prompt) - 1 : -1]
            expected = log_pi.gather(1, tokens[:, None])[:, 0]
            torch.testing.assert_close(scores.logp[b, k][: len(tokens)], expected, rtol=1e-9, atol=1e-9)
            entropy = -(log_pi.exp() * log_pi).sum(-1)
            torch.testing.assert_close(scores.entropy[b, k][: len(tokens)], entropy, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(drawn.logp, scores.logp.detach(), rtol=1e-9, atol=1e-9)


def test_an_end_is_real_and_nothing_after_it(drawn):
    """Every completion is real up to its first end, or throughout."""
    for tokens, mask in zip(drawn.tokens.flatten(0, 1).tolist(), drawn.mask.flatten(0, 1).tolist(), strict=True):
        ends = [i for i, t in enumerate(tokens) if t < 12 and mask[i]]
        length = ends[0] + 1 if ends else len(tokens)
        assert mask == [1.0] * length + [0.0] * (len(tokens) - length)


def test_the_start_is_the_model_itself(drawn):
    """B = 0: without factors the same log-probs, which is what the untrained policy of a run has."""
    weights = pretrained("random", torch.float64, "cpu")
    start = CausalPolicy.initial(NOISE, weights, 3, 4.0).score(0, PROMPTS, drawn.tokens, drawn.mask).logp
    for layer in weights.layers:
        layer.factors = None
    logits = weights.module(input_ids=torch.tensor([[*PROMPTS[0], int(drawn.tokens[0, 0, 0])]])).logits[0]
    expected = logits.log_softmax(-1)[len(PROMPTS[0]) - 1, drawn.tokens[0, 0, 0]]
    torch.testing.assert_close(start[0, 0, 0], expected, rtol=1e-9, atol=1e-9)


def test_what_does_not_belong_together_is_refused():
    """A tokenizer with more tokens than the model embeds; no chat template; no such model."""
    module, tokenizer = _random(torch.float32)
    weights = Weights.of(module, tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=r"no chat template; write one into task\.template"):
        weights.encode("q", "", "", "", thinking=False)
    assert weights.decode(weights.encode("1", "2", "{question}+", "", thinking=False)).replace(" ", "") == "1+2"
    tokenizer.add_tokens(["<more>"])
    with pytest.raises(ValueError, match="tokens: they do not belong together"):
        Weights.of(_random(torch.float32)[0], tokenizer)
    with pytest.raises(DataUnavailable, match=r"model '\./nowhere': .*; name a folder with config\.json"):
        pretrained("./nowhere", torch.float32, "cpu")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("weights", r"OSError: Error no file named .*; name a folder with config\.json, weights and tokenizer"),
        ("tokenizer", "ValueError: has no tokenizer: what was read in its place knows no text; name a folder with"),
        ("template", r"its tokenizer has no chat template; write one into task\.template, with {question} in it"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_by_name(tmp_path, missing, said):
    """In one line, before anything is trained: it says which model, what it lacks, and what would work."""
    module, tokenizer = _random(torch.float32)
    if missing == "template":
        tokenizer.chat_template = None
    (module.config if missing == "weights" else module).save_pretrained(tmp_path)
    if missing != "tokenizer":
        tokenizer.save_pretrained(tmp_path)
    settings = dataclasses.replace(SMOKE, model=str(tmp_path), template="", precision="training")
    with pytest.raises(DataUnavailable, match=f"^model '{re.escape(str(tmp_path))}': {said}"):
        settings.make(NOISE).rollout(settings.make(NOISE).make_policy(), 0)


def test_sums_are_read_by_their_first_number_and_held_out_ones_are_not_trained_on():
    """109. is right where 1090 and 109,5 are not."""
    sums = problems_of("add", 99)
    assert not {*sums.trained} & {*sums.held_out}
    problem = next(p for p in sums.trained if p.answer == "109")
    assert [sums.grade(t, problem, "strict") for t in (" 109.", "109", "1090", " 109,5", "so 109", "")] == [
        1,
        1,
        0,
        0,
        0,
        0,
    ]


def test_a_pattern_ends_completions_too():
    """Of smol_words: a full stop, a new line, and the model's own end; a pattern that is none is refused."""
    settings = dataclasses.replace(SMOKE, precision="training")
    task = settings.make(NOISE)
    assert [task.weights.texts[i] for i in task.stops] == ["<end>", ".", "\n"]
    with pytest.raises(ValueError, match=r"^stop must be a regular expression, such as \[\.\\n\]"):
        dataclasses.replace(settings, stop="[.")


def test_word_problems_are_of_one_step_and_answered_by_it():
    """Every question has its two numbers and what is done with them; no held-out problem is trained on."""
    problems = problems_of("words", 9)
    for question, _, answer in [*problems.trained, *problems.held_out]:
        a, b = map(int, re.findall(r"\d+", question))
        assert int(answer) == (a + b if "gets" in question else a - b)
        assert max(a, b) <= 9
    assert not {*problems.trained} & {*problems.held_out}
    thirteen = problems.trained[0]._replace(answer="13")
    texts = ["8 + 5 = 13", "13 books", "8 + 5 = 130", "13, so 8", ""]
    assert [problems.grade(text, thirteen, "flexible") for text in texts] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("algorithm", ["tpo", "grpo_trl", "dapo"])
def test_micro_batches_change_no_gradient(algorithm):
    """Two problems at a time of five: prompts and completions are padded otherwise, and that is all."""
    whole, parted = (dataclasses.replace(SMOKE, **SMALL, micro_batch=m).make(NOISE) for m in (0, 2))
    policy, rule = whole.make_policy(), ALGORITHMS[algorithm]
    rollout = whole.rollout(policy, 0)
    rollout = dataclasses.replace(rollout, groups=dataclasses.replace(rollout.groups, reward=RANKED, score=RANKED))
    credit = rule.credit_for(rollout.groups)
    gradients = [
        torch.cat([g.flatten() for g in loss_gradient(task, policy, rule, rollout, credit, at_snapshot=True)])
        for task in (whole, parted)
    ]
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-12 * float(gradients[0].abs().max()))
    torch.testing.assert_close(
        parted.rollout(policy, 0).groups.old_logp, rollout.groups.old_logp, rtol=1e-9, atol=1e-12
    )


def test_a_suite_trains_from_end_to_end(tmp_path):
    """The smoke version of smol_add, with the untrained policy beside it for an algorithm that needs it."""
    plan = plan_runs(load_suite("smol_add", smoke=True), ["tpo", "grpo"])
    assert execute(dataclasses.replace(plan), tmp_path / "r", executor=Inline()).counts == {"ok": 2}
    assert LanguageSettings.packages({"problems": "knights_knaves"}) == ("transformers", "reasoning_gym")
