"""Somebody else's loss against ours: what it is called, what it breaks, and what is said where it has no name."""

import dataclasses
import json
import sys
import textwrap
import xml.etree.ElementTree as ET

import pytest
import torch

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.conformance import assert_conforms, conformance
from tpobench.conformance.calls import Function
from tpobench.conformance.cases import SINGLE, cases
from tpobench.conformance.identify import Target, identify, usual_credit
from tpobench.conformance.invariances import Subject, keep
from tpobench.conformance.parts import of_catalog
from tpobench.conformance.report import _ours
from tpobench.errors import RunsFailed, UsageError

# ---- losses as people write them, and the ways in which they go wrong


def z(rewards, group_ids, ddof=1, epsilon=1e-4):
    """Group z-scores, (N,)."""
    A = torch.zeros_like(rewards)
    for g in set(group_ids.tolist()):
        i = torch.as_tensor(group_ids == g)
        d = rewards[i] - rewards[i].mean()
        A[i] = d / ((d.square().sum() / max(int(i.sum()) - ddof, 1)).sqrt() + epsilon)
    return A


def clipped(log_probs, old_log_probs, A, clip=0.2):
    """PPO's loss of every token."""
    ratio = (log_probs - old_log_probs).exp()
    return -torch.min(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A)


def token_mean(loss, mask):
    """Over the tokens of the batch."""
    return (loss * mask).sum() / mask.sum()


def grpo(log_probs, old_log_probs, rewards, mask, group_ids):
    """`grpo_trl`, right."""
    return token_mean(clipped(log_probs, old_log_probs, z(rewards, group_ids)[:, None]), mask)


def population(log_probs, old_log_probs, rewards, mask, group_ids):
    """Population standard deviation."""
    return token_mean(clipped(log_probs, old_log_probs, z(rewards, group_ids, 0)[:, None]), mask)


def no_epsilon(log_probs, old_log_probs, rewards, mask, group_ids):
    """Nothing is added to the deviation."""
    return token_mean(clipped(log_probs, old_log_probs, z(rewards, group_ids, 1, 0.0)[:, None]), mask)


def whole_batch(log_probs, old_log_probs, rewards, mask, group_ids):
    """Group ids are ignored."""
    del group_ids
    A = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    return token_mean(clipped(log_probs, old_log_probs, A[:, None]), mask)


def right(log_probs, old_log_probs, advantages, mask):
    """The loss alone."""
    return token_mean(clipped(log_probs, old_log_probs, advantages), mask)


def asymmetric(log_probs, old_log_probs, advantages, mask):
    """Another bound above than below, none that libraries choose."""
    ratio = (log_probs - old_log_probs).exp()
    return token_mean(-torch.min(ratio * advantages, ratio.clamp(0.8, 1.27) * advantages), mask)


def of_answers(log_probs, old_log_probs, advantages, mask):
    """Takes one advantage of each answer, (N,), and averages over each answer first."""
    loss = clipped(log_probs, old_log_probs, advantages.unsqueeze(1))
    return ((loss * mask).sum(-1) / mask.sum(-1)).mean()


def summed(log_probs, old_log_probs, advantages, mask):
    """A sum over tokens."""
    return (clipped(log_probs, old_log_probs, advantages) * mask).sum()


def by_width(log_probs, old_log_probs, advantages, mask):
    """Divides by the longest answer: Dr.GRPO's."""
    return (clipped(log_probs, old_log_probs, advantages) * mask).mean()


def ascends(log_probs, old_log_probs, advantages, mask):
    """The gain, taken for a loss."""
    return -right(log_probs, old_log_probs, advantages, mask)


def negated(log_probs, old_log_probs, advantages, mask):
    """Rewards taken for costs."""
    return right(log_probs, old_log_probs, -advantages, mask)


def wrong_side(log_probs, old_log_probs, advantages, mask):
    """`max` where a gain has `min`."""
    ratio = (log_probs - old_log_probs).exp()
    return token_mean(-torch.max(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages), mask)


def upside_down(log_probs, old_log_probs, advantages, mask):
    """pi_old / pi."""
    return right(old_log_probs, log_probs, advantages, mask)


def shifted(log_probs, old_log_probs, advantages, mask):
    """The mask of the next token."""
    A = advantages.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)
    loss = clipped(log_probs, old_log_probs, A)
    return token_mean(loss[:, :-1], mask[:, 1:])


def own_snapshot(log_probs, old_log_probs, advantages, mask):
    """Old log-probs are the current ones, so nothing is ever clipped."""
    del old_log_probs
    return right(log_probs, log_probs.detach(), advantages, mask)


def penalised(estimator):
    """With a KL of .07 by an estimator of d = log pi - log pi_ref."""

    def loss(log_probs, old_log_probs, ref_log_probs, advantages, mask):
        d = log_probs - ref_log_probs
        return token_mean(clipped(log_probs, old_log_probs, advantages) + 0.07 * estimator(d), mask)

    return loss


def weight_not_detached(log_probs, old_log_probs, advantages, mask):
    """CISPO whose weight carries a gradient."""
    return token_mean(-(log_probs - old_log_probs).exp().clamp_max(5.0) * advantages * log_probs, mask)


def halves(log_probs, old_log_probs, advantages, mask):
    """Averaged over each micro-batch, then over micro-batches."""
    loss, N = clipped(log_probs, old_log_probs, advantages), len(mask) // 2
    return (token_mean(loss[:N], mask[:N]) + token_mean(loss[N:], mask[N:])) / 2


def padding_counts(log_probs, old_log_probs, advantages, mask):
    """A mean over padding too."""
    A = advantages.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)
    return clipped(log_probs, old_log_probs, A).mean()


def odd(log_probs, old_log_probs, advantages, mask):
    """Nothing that has a name."""
    return right(log_probs, old_log_probs, advantages.sin(), mask)


# ---- names


CLIPPED, RIGHT = "clipped_token_ratio", "token_mean"
K3 = "plus 0.07 times a KL to the reference policy, estimator k3"
NAMED = [
    (grpo, ("sample_standardized_reward(epsilon=0.0001)", RIGHT, CLIPPED), []),
    (population, ("standardized_reward(epsilon=0.0001)", RIGHT, CLIPPED),
     ["population instead of sample standard deviation over 4 answers of a group"]),
    (no_epsilon, ("sample_standardized_reward(epsilon=0)", RIGHT, CLIPPED), ["epsilon 0 in place of 0.0001"]),
    (whole_batch, ("batch_standardized_reward(epsilon=0.0001)", RIGHT, CLIPPED),
     ["mean and deviation of the whole batch in place of each group's: group ids are not used",
      "sample instead of population standard deviation over 12 answers of the batch"]),
    (right, (RIGHT, CLIPPED), []),
    (asymmetric, (RIGHT, "clipped_token_ratio(clip=0.2, clip_high=0.27)"), None),
    (of_answers, ("sequence_mean", CLIPPED), []),
    (summed, ("token_sum", CLIPPED), ["summed over answers, not averaged"]),
    (by_width, ("constant_mean", CLIPPED), []),
    (ascends, (RIGHT, CLIPPED), ["of the other sign: it ascends"]),
    (negated, (RIGHT, CLIPPED), ["the advantage is negated"]),
    (wrong_side, (RIGHT, CLIPPED),
     ["the larger of the two terms is taken in place of the smaller: it clips on the wrong side"]),
    (upside_down, (RIGHT, CLIPPED), ["the ratio is upside down: pi_old / pi"]),
    (shifted, (RIGHT, CLIPPED), ["the mask is one token early: token t counts where token t + 1 should"]),
    (own_snapshot, (RIGHT, "policy_gradient"), None),
    (padding_counts, (RIGHT, CLIPPED), ["the mask is not used: padding counts"]),
    (penalised(lambda d: (-d).exp() + d - 1), (RIGHT, CLIPPED), [K3]),
    (penalised(lambda d: d.square() / 2), (RIGHT, CLIPPED), [K3.replace("k3", "k2")]),
    (penalised(lambda d: d), (RIGHT, CLIPPED),
     ["plus 0.07 times a KL by estimator k1 (whose gradient is that of log pi, whatever the reference)"]),
    (penalised(lambda d: d.exp() - d - 1), (RIGHT, CLIPPED),
     ["plus 0.07 times a KL from the reference policy (k3 upside down: log pi / pi_ref in place of log pi_ref / pi)"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "parts", "differences"), NAMED, ids=[f[0].__name__ + str(i) for i, f in enumerate(NAMED)]
)
def test_a_loss_is_named_with_what_is_wrong_with_it(loss, parts, differences):
    """Its credit, aggregation and fit, and every convention by which it parts from the nearest algorithm."""
    findings = conformance(loss)
    assert findings.outcome == "identified"
    text = findings.headline.removeprefix("IDENTIFIED: ").partition(", the loss")[0].partition(", which is")[0]
    names = text.partition("; ")[0].split(" x ")
    assert len(names) == len(parts)
    assert all(name.startswith(part) for name, part in zip(names, parts, strict=True))
    if differences is not None:
        assert list(findings.differences) == differences


def test_what_is_no_algorithm_gets_no_name():
    """Sines of advantages: unknown, exit code 7, with the nearest and how far off they are."""
    findings = conformance(odd)
    assert (findings.outcome, findings.exit_code, findings.best) == ("unknown", 7, None)
    assert all(off > 0.01 for _, off in findings.identity.nearest)


def test_a_weight_that_is_not_detached_is_told_by_its_value():
    """The loss is CISPO's in every batch, the gradient is not: unknown, and where to look."""
    findings = conformance(weight_not_detached)
    assert not findings.identity.known
    value = findings.identity.value_of.parts
    assert (value.fit.function.__name__, value.aggregation) == ("capped_weight", "token_mean")


def test_halves_that_are_averaged_have_no_name_and_break_the_order():
    """A mean over micro-batches of token means depends on which answers share one."""
    findings = conformance(halves)
    assert findings.exit_code == 1
    assert not findings.identity.known
    assert ["order of answers" in p.promise for p in findings.broken] == [True]


def test_old_log_probs_that_are_not_used_are_told():
    """A ratio to the current policy itself."""
    assert conformance(own_snapshot).unused == ("old_log_probs",)


ONE_OF_EACH_FIT = tuple({a.fit: a for a in of_catalog()}.values())


@pytest.mark.parametrize("algorithm", ONE_OF_EACH_FIT, ids=lambda a: a.name)
def test_an_algorithm_of_the_catalogue_is_identified_as_itself(algorithm):
    """And as nothing else, but for those that are one gradient."""
    answers = {case.name: _ours(algorithm, case) for case in cases()}
    gradients = {case.name: answers[case.name][1].view_as(case.logp) for case in cases()}
    identity = identify(Target(gradients, {name: loss for name, (loss, _) in answers.items()}, handed=False))
    assert identity.known
    assert algorithm.name in identity.matches[0].algorithms
    assert {name.removesuffix("_multi_epoch") for name in identity.matches[0].algorithms} == {
        algorithm.name.removesuffix("_multi_epoch")
    }


# ---- against an algorithm


def test_a_loss_that_conforms_passes_and_another_does_not():
    """`assert_conforms` says in which batches and by what."""
    assert_conforms(grpo, "grpo_trl")
    assert_conforms(asymmetric, "grpo_trl", clip_high=0.27)
    with pytest.raises(AssertionError, match="population instead of sample standard deviation over 4 answers"):
        assert_conforms(population, "grpo_trl")
    with pytest.raises(AssertionError, match=r"DIFFERS FROM grpo_trl: gradient equal on \d+ of 13 batches"):
        assert_conforms(asymmetric, "grpo_trl")


def test_a_scale_that_explains_every_batch_is_the_difference():
    """A sum over 12 answers in place of their mean is 12, 10, ... times ours, by one convention."""
    findings = conformance(lambda log_probs, rewards, mask: -(rewards[:, None] * log_probs * mask).sum() * 0.5)
    assert findings.differences[-1] == "summed over answers, not averaged; 0.5 times ours in every case"


def test_single_answers_are_told_and_do_not_decide():
    """K = 1: a group's baseline is the answer itself, or nothing; papers do not say."""

    def rloo(log_probs, rewards, mask, group_size):
        r = rewards.view(-1, group_size)
        A = r - (r.sum(1, keepdim=True) - r) / max(group_size - 1, 1)
        return -(A.flatten() * (log_probs * mask).sum(-1)).mean()

    findings = conformance(rloo, "rloo")
    assert findings.agrees
    assert [(r.state, r.counts) for r in findings.results if r.name == SINGLE] == [("differs", False)]


# ---- invariances


def states(loss):
    """What becomes of each invariance, by a word of it."""
    words = ("finite", "same", "padding", "order", "micro", "padded", "single", "log-ratios", "bfloat16")
    subject = Subject(Function("loss", loss), usual_credit())
    subject = dataclasses.replace(subject, function=subject.function.presented(subject.batch(cases()[0])))
    return dict(zip(words, (p.state for p in keep(subject)), strict=True))


def test_token_means_do_not_survive_gradient_accumulation_unless_they_are_told_the_tokens():
    """The fault behind the public bugs: 42 % of the gradient; a function of num_items_in_batch keeps it."""

    def told(log_probs, old_log_probs, advantages, mask, num_items_in_batch, num_processes):
        loss = clipped(log_probs, old_log_probs, advantages)
        return (loss * mask).sum() / num_items_in_batch * num_processes

    def forgets_ranks(log_probs, old_log_probs, advantages, mask, num_items_in_batch, num_processes):
        del num_processes
        return (clipped(log_probs, old_log_probs, advantages) * mask).sum() / num_items_in_batch

    def own_tokens(log_probs, old_log_probs, advantages, mask, num_items_in_batch):
        del num_items_in_batch
        return right(log_probs, old_log_probs, advantages, mask)

    assert [states(f)["micro"] for f in (right, told, forgets_ranks, own_tokens)] == [
        "limited", "kept", "broken", "broken",
    ]  # fmt: skip
    assert conformance(right, "grpo_trl", strict=True).exit_code == 1


def test_padding_width_and_order_are_tried():
    """Padding that counts, a mean over the batch's width, and halves of the batch, each by its own line."""
    assert states(padding_counts)["padding"] == "broken"
    assert states(by_width)["padded"] == "limited"
    assert states(halves)["order"] == "broken"


def test_nan_names_the_batch_and_the_remedy():
    """Groups of equal rewards without an epsilon."""
    finite = conformance(no_epsilon, "grpo_trl").promises[0]
    assert finite.state == "broken"
    assert "group of equal rewards" in finite.breaches[0].what
    assert finite.breaches[0].remedy == "add an epsilon to the deviation"


# ---- what cannot be asked


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (
            lambda log_probs, temperature: log_probs * temperature,
            UsageError,
            "parameter 'temperature' is no input that is known",
        ),
        (lambda x: x, UsageError, "parameter 'x'"),
        (lambda log_probs, logp: log_probs + logp, UsageError, "both mean log_probs"),
        (lambda log_probs: log_probs.numel() * 1.0, UsageError, "gives float; return a tensor"),
        (lambda log_probs: log_probs, UsageError, r"gives shape \(12, 6\); a loss is one number"),
        (lambda log_probs: log_probs.detach().sum(), RunsFailed, "does not depend on the log-probs"),
        (lambda log_probs: log_probs.sum() / log_probs.nothing, RunsFailed, r"raises on .*AttributeError.*line \d+"),
        (lambda log_probs: log_probs.sum() * torch.nan, RunsFailed, "nan or inf on every batch"),
    ],
)
def test_what_cannot_be_asked_is_one_line(loss, error, words):
    """What, where, and what would work."""
    with pytest.raises(error, match=words) as raised:
        conformance(loss, "grpo_trl")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["ce", "tpo_token", "gdpo"])
def test_algorithms_that_read_what_no_loss_is_handed_are_refused(name):
    """Labels, next tokens, several rewards."""
    with pytest.raises(UsageError, match=f"algorithm '{name}' cannot be compared"):
        conformance(right, name)
    assert name in ALGORITHMS


# ---- the command


MINE = textwrap.dedent("""
    import torch
    from conformance_helper import clip
    print("imported")

    def loss(logp, old_logp, advantages, response_mask):
        print("called")
        ratio = (logp - old_logp).exp()
        loss = -torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
        return (loss * response_mask).sum() / response_mask.sum(), {"metric": 1}

    def scores(token_level_rewards, response_mask, num_generations, epsilon=1e-6):
        r = token_level_rewards.sum(-1).view(-1, num_generations)
        A = (r - r.mean(-1, keepdim=True)) / (r.std(-1, keepdim=True) + epsilon)
        return A.flatten()[:, None] * response_mask, None

    def constant(logp, response_mask, beta):
        return beta * (logp * response_mask).sum()

    def broken(logp):
        raise KeyError("reward")
""")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A trainer's file, and one beside it; its folder is forgotten."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "conformance_helper.py").write_text("clip = 0.2\n", encoding="utf-8")


@pytest.mark.usefixtures("mine")
def test_the_command_answers_with_one_object_and_a_junit_file(command_line, tmp_path):
    """Prints of the function go to standard error; the file beside it is imported."""
    code, out, _ = command_line("conformance", "mine.py:loss", "--as", "grpo_trl", "--json", "--junit", "j.xml")
    answer = json.loads(out)
    assert (code, answer["outcome"], answer["exit_code"]) == (0, "agrees", 0)
    assert answer["inputs"] == {
        "logp": "log_probs", "old_logp": "old_log_probs", "advantages": "advantages", "response_mask": "mask",
    }  # fmt: skip
    suite = ET.parse(tmp_path / "j.xml").getroot()[0]  # noqa: S314 - our own
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("0", "0")
    assert int(suite.attrib["tests"]) == len(answer["batches"]) + len(answer["invariances"])
    code, out, _ = command_line(
        "conformance", "mine.py:loss", "--as", "grpo_trl", "--set", "clip=0.3", "--junit", "j.xml"
    )
    assert code == 1
    assert "clip 0.2 in place of 0.3" in out
    assert int(ET.parse(tmp_path / "j.xml").getroot()[0].attrib["failures"]) > 0  # noqa: S314 - our own


@pytest.mark.usefixtures("mine")
def test_an_advantage_function_is_identified_alone_or_with_its_loss(command_line):
    """From token-level rewards; the pair is held against an algorithm."""
    code, out, _ = command_line("conformance", "mine.py:scores", "--json")
    assert code == 0
    assert json.loads(out)["headline"].startswith(
        "IDENTIFIED: sample_standardized_reward(epsilon=1e-06), the credit of"
    )
    code, out, _ = command_line(
        "conformance", "mine.py:loss", "--advantage", "mine.py:scores", "--as", "grpo_trl", "--set", "epsilon=1e-6"
    )
    assert code == 0, out


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["mine.py"], 2, "names no function; write MODULE:FUNCTION"),
        (["mine.py:los"], 2, "unknown function 'los' in mine.py; did you mean 'loss'?"),
        (["other.py:loss"], 2, "no file other.py"),
        (["no_such_module:loss"], 2, "no module 'no_such_module'; --path DIR"),
        (["mine.py:loss", "--path", "nowhere"], 2, "--path nowhere: no such folder"),
        (["mine.py:loss", "--as", "grpo_trll"], 2, "did you mean 'grpo_trl'?"),
        (["mine.py:loss", "--as", "grpo_trl", "--set", "clip=7"], 2, "give a number of at least 0 and at most 1"),
        (["mine.py:loss", "--set", "clip=0.1"], 2, "--set is a hyperparameter of the algorithm; name it with --as"),
        (["mine.py:constant"], 2, "parameter 'beta' is no input that is known by name"),
        (["mine.py:constant", "--with", "gamma=1"], 2, "unknown parameter 'gamma'"),
        (["mine.py:constant", "--with", "beta"], 2, "'beta' sets nothing; write NAME=VALUE"),
        (["mine.py:scores", "--as", "grpo_trl"], 2, "makes advantages and no loss"),
        (["mine.py:broken"], 3, "raises on a plain batch: KeyError: 'reward' (mine.py, line 21)"),
    ],
)
def test_what_is_wrong_with_the_command_is_one_line(command_line, words, code, line):
    """With the exit codes of other verbs: 2 bad input, 3 a run that failed."""
    actual, out, err = command_line("conformance", *words)
    said = [each for each in err.splitlines() if each.startswith("tpobench: ")]
    assert (actual, out, len(said)) == (code, "", 1), err
    assert line in said[0]
