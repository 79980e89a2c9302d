"""Language models, small and pretrained: what is counted and kept of a run, and that only the algorithm differs."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from test_train import TASKS, job

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.groups import CandidateGroups
from tpobench.execution.job import Message, train_job
from tpobench.planning.plan import RunSpec
from tpobench.policies.causal import CausalPolicy, Weights
from tpobench.policies.language import END
from tpobench.policies.noise import Noise
from tpobench.records.difference import difference
from tpobench.records.store import parse_record, same
from tpobench.tasks.completions import LONGEST, SHOWN, shortened
from tpobench.tasks.language import LanguageTask
from tpobench.tasks.tiny_math import TinyMathTask
from tpobench.training.loop import make_task, train

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from language import rows_of

REPORTING = {"metric": "error", "window": 1, "thresholds": [0.1], "worst": 1.0}
RESULTS = Path(__file__).parent.parent / "results"
STEPS = 3
KINDS = {"tiny_math": TinyMathTask, "language": LanguageTask}
TASKS["language"] = {
    "kind": "language", "model": "random", "precision": "training", "largest": 9, "prompts": 4, "candidates": 8,
    "new_tokens": 2, "rank": 2, "alpha": 8.0, "held_out": 5, "samples": 2,
}  # fmt: skip


def of(kind, algorithm, **training):
    """A job of one seed."""
    if kind == "language":
        pytest.importorskip("transformers")
    return job(kind, algorithm, steps=STEPS, optimizer="adam", more={"diagnostics": True, **training})


def task_of(a_job):
    """Its task, as the loop makes it."""
    spec: RunSpec = a_job.specs[0]
    return make_task(spec.suite, spec.task, a_job.seeds, dtype=spec.dtype, device=spec.device)


def even(text, *_):
    """In place of a grader: untrained models are right and wrong by it about as often."""
    return len(text) % 2 == 0


def graded_by(patch, a_job, grade):
    """Both kinds grade so."""
    patch.setattr("tpobench.tasks.tiny_math.is_right", grade)
    if a_job.specs[0].task["kind"] == "language":
        problems = dataclasses.replace(task_of(a_job).problems, grade=lambda *x: float(grade(*x)))
        patch.setattr("tpobench.tasks.language.problems_of", lambda *_: problems)


@pytest.fixture(scope="module", params=KINDS)
def runs(request):
    """The kind, and of two algorithms the record and the rollouts of a run."""
    kind, made, drawn = request.param, {}, {}
    rollout = KINDS[kind].rollout
    with pytest.MonkeyPatch.context() as patch:
        graded_by(patch, of(kind, "tpo"), even)
        for name in ("tpo", "grpo"):
            drawn[name] = []

            def noted(self, policy, step, seen=drawn[name]):
                seen.append(rollout(self, policy, step))
                return seen[-1]

            patch.setattr(KINDS[kind], "rollout", noted)
            (made[name],) = train_job(Message(of(kind, name), REPORTING))
    return kind, made, drawn


def test_prompts_and_tokens_are_counted(runs):
    """Sums over the rollouts that were trained on: at every point those so far, in all under counts."""
    kind, records, drawn = runs
    for name, record in records.items():
        batches = drawn[name][:STEPS]  # one more is drawn to be measured
        tokens = [int(r.groups.mask.sum()) for r in batches]
        assert record.curve["tokens"] == [sum(tokens[:i]) for i in range(STEPS + 1)]
        B = TASKS[kind]["prompts"]
        assert record.curve["prompts"] == [B * i for i in range(STEPS + 1)]
        K = TASKS[kind]["candidates"]
        assert record.counts == {
            "interactions": STEPS * B * K, "gradient_steps": STEPS, "prompts": STEPS * B, "tokens": sum(tokens),
        }  # fmt: skip


def test_what_is_drawn_once_is_counted_once():
    """Offline, all updates are on the rollouts of the untrained policy."""
    (record,) = train_job(Message(of("tiny_math", "grpo", offline=True), REPORTING))
    assert record.curve["prompts"] == [0, *[TASKS["tiny_math"]["prompts"]] * STEPS]
    assert record.curve["tokens"][1] == record.counts["tokens"] > 0


def test_a_record_keeps_completions_from_before_and_after(runs):
    """A few held-out problems, each with what was greedy and what was sampled, and their rewards."""
    kind, records, _ = runs
    for record in records.values():
        assert [c["step"] for c in record.completions] == [0] * (n := min(SHOWN, TASKS[kind]["held_out"])) + [STEPS] * n
        assert json.loads(record.to_line())["completions"] == list(map(dict, record.completions))
        assert same(parse_record(record.to_line(), "here"), record)
        if kind == "tiny_math":
            for way in ("greedy", "sampled"):
                assert all(c[f"{way}_reward"] <= even(c[way]) for c in record.completions)


def test_only_the_algorithm_differs_between_runs_of_a_pair(runs):
    """The same prompts in every batch; in the first the same completions, rewards, evaluation and diagnostics."""
    _, records, drawn = runs
    for a, b in zip(*drawn.values(), strict=True):
        assert list(map(list, a.inputs.prompts[0])) == list(map(list, b.inputs.prompts[0]))
    a, b = (rollouts[0].groups for rollouts in drawn.values())
    assert all(torch.equal(getattr(a, f), getattr(b, f)) for f in ("mask", "old_logp", "reward", "weight", "score"))
    tpo, grpo = records.values()
    differ = {"gradient_norm"}  # of the loss itself
    assert {k: v[0] for k, v in tpo.curve.items() if k not in differ} == {
        k: v[0] for k, v in grpo.curve.items() if k not in differ
    }
    assert tpo.curve["gradient_norm"] != grpo.curve["gradient_norm"]
    first, second = ([c for c in r.completions if c["step"] == 0] for r in (tpo, grpo))
    assert first == second
    assert [c["question"] for c in tpo.completions] == [c["question"] for c in grpo.completions]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_cut_is_wrong_and_stays_in_its_group(kind, monkeypatch):
    """Though a grader takes everything as right, 0 where no end was drawn, with the weight of any other draw."""
    a_job = of(kind, "tpo")
    graded_by(monkeypatch, a_job, lambda *_: True)
    task = task_of(a_job)
    policy = task.make_policy()
    rollouts = [task.rollout(policy, step) for step in range(4)]
    cut = torch.cat([r.groups.reward for r in rollouts]) == 0
    whole = torch.cat([r.groups.mask for r in rollouts]).bool().all(-1)
    assert 0 < cut.sum() < cut.numel()
    assert whole[cut].all()  # every token of it is real
    for groups in (r.groups for r in rollouts):
        assert (groups.weight == 1 / groups.reward.shape[-1]).all()
        assert set(groups.reward.unique().tolist()) <= {0.0, 1.0}


def test_an_end_that_is_also_the_padding_is_real_once():
    """The end's log-prob counts, what lies after it does not, though both are token 0."""
    pytest.importorskip("transformers")
    task = task_of(of("language", "tpo"))
    policy, stops = task.make_policy(), torch.tensor([0])
    prompts, uniform = [[5, 6, 7], [9]], Noise("s", "c", (0,), dtype=torch.float64).uniform("u", 0, (2, 60, 6))[0]
    drawn = policy.sample(0, prompts, uniform, stops)
    logp = policy.score(0, prompts, drawn.tokens, drawn.mask).logp.detach()
    ended = (drawn.tokens[..., :-1] == 0).any(-1)
    assert ended.any()
    for tokens, mask, of_tokens in zip(drawn.tokens[ended], drawn.mask[ended], logp[ended], strict=True):
        end = tokens.tolist().index(0)
        assert tokens[end:].tolist() == [0] * (6 - end)
        assert mask.tolist() == [1.0] * (end + 1) + [0.0] * (5 - end)
        assert (of_tokens[: end + 1] < 0).all()
        assert (of_tokens[end + 1 :] == 0).all()


def test_sampler_and_scorer_know_one_temperature():
    """1: what a model's files say of temperature, top-p and top-k for chatting is followed by neither."""
    pytest.importorskip("transformers")
    task = task_of(of("language", "tpo"))
    policy, config = task.make_policy(), task.weights.module.generation_config
    before = task.rollout(policy, 0)
    try:
        config.temperature, config.top_p, config.top_k, config.do_sample = 0.1, 0.2, 1, True
        after = task.rollout(policy, 0)
    finally:
        config.temperature, config.top_p, config.top_k, config.do_sample = None, None, None, None
    assert torch.equal(before.inputs.tokens, after.inputs.tokens)
    assert torch.equal(before.groups.old_logp, after.groups.old_logp)
    torch.testing.assert_close(after.groups.rollout_logp, after.groups.old_logp, rtol=1e-9, atol=1e-9)


def test_no_pass_has_dropout():
    """A model whose configuration asks for it, and that was left in training mode, scores as one without."""
    pytest.importorskip("transformers")
    from tpobench.policies.pretrained import _random

    logp, tokens = [], torch.tensor([[[3, 4, 5, 6]]])
    for dropout in (0.0, 0.5):
        module, tokenizer = _random(torch.float64)
        for layer in module.modules():
            if hasattr(layer, "attention_dropout"):
                layer.attention_dropout = dropout
        weights = Weights.of(module.train(), tokenizer)
        policy = CausalPolicy.initial(Noise("s", "c", (0,), dtype=torch.float64), weights, 2, 4.0)
        logp += [policy.score(0, [[7, 8, 9]], tokens, torch.ones(1, 1, 4)).logp for _ in range(2)]
    assert all(torch.equal(logp[0], x) for x in logp[1:])


def test_a_long_text_keeps_its_beginning_and_its_end():
    """What is written into a record is bounded, and can be written."""
    assert shortened("#### 7") == "#### 7"
    long = shortened("q" + "x" * 10_000 + "#### 7")
    assert long.startswith("qxx")
    assert long.endswith("x#### 7")
    assert len(long) == LONGEST + 3
    assert shortened("\ud800") == "?"


def test_a_seed_that_is_lost_has_no_completions_after():
    """Of parameters that are not finite there is nothing to sample; the other seed's are kept."""
    a_job = job("tiny_math", "tpo", (0, 1), steps=STEPS, optimizer="adam")
    policy = []
    make = TinyMathTask.make_policy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TinyMathTask, "make_policy", lambda self: policy.append(make(self)) or policy[-1])

        def begin(step, _):
            if step == STEPS:
                policy[0].theta.data[1] = torch.nan

        texts = [m for m in train(a_job, begin) if m.metric == "completions"]
    assert [[len(of_seed) for of_seed in m.value] for m in texts] == [[2, 2], [2, 0]]


def test_what_records_did_not_hold_before_is_no_difference(runs):
    """A record made before tokens and completions equals one that has them, unless something else differs."""
    record = runs[1]["tpo"]
    raw = json.loads(record.to_line())
    del raw["completions"], raw["curve"]["tokens"], raw["curve"]["prompts"], raw["counts"]["tokens"]
    del raw["counts"]["prompts"]
    before = parse_record(json.dumps(raw), "before")
    assert same(before, record)
    assert same(record, before)
    assert difference(before, record) is None
    raw["counts"]["interactions"] += 1
    assert not same(parse_record(json.dumps(raw), "before"), record)
    others = tuple({**c, "sampled": END} for c in record.completions)
    assert not same(dataclasses.replace(record, completions=others), record)


def test_committed_records_are_written_as_they_were():
    """A record without completions has the bytes that it had."""
    for line in (RESULTS / "smol_add.jsonl").read_text(encoding="utf-8").splitlines()[:3]:
        assert parse_record(line, "committed").to_line() == line


CORRECT = (1, 2, 4, 6, 7)  # of eight completions
MOVED = {  # probability that a group's right completions gain, as docs/language.md has it
    "tpo_length_norm": lambda p: p / (p + (1 - p) * math.exp(-1 / math.sqrt(p * (1 - p)))) - p,
    "maxrl": lambda p: 1 - p,
    "grpo": lambda p: math.sqrt(p * (1 - p)),
    "reinforce": lambda p: p * (1 - p),  # where the batch's mean reward is p
}


@pytest.mark.parametrize("name", MOVED)
def test_what_rewards_of_0_and_1_move_is_a_weight_of_the_prompt(name):
    """By the share p that is right, of completions with equal mean log-probs; the documentation has the numbers."""
    moved = []
    for k in CORRECT:
        reward = torch.tensor([[[1.0] * k + [0.0] * (8 - k)]], dtype=torch.float64)
        logp = torch.full((1, 1, 8, 3), -1.0, dtype=torch.float64)
        groups = CandidateGroups.of_rollouts(logp, torch.ones_like(logp), reward)
        entry = ALGORITHMS[name]
        credit = entry.credit_for(groups)
        gain = credit - groups.weight if entry.credit_is == "target" else credit * groups.weight
        moved.append(float((gain * reward).sum()))
    assert moved == pytest.approx([MOVED[name](k / 8) for k in CORRECT], abs=1e-5)
    row = f"| `{name}` | " + " | ".join(f"{MOVED[name](k / 8):.2f}" for k in CORRECT) + " |"
    assert row in (RESULTS.parent / "docs" / "language.md").read_text(encoding="utf-8")


def test_the_controls_of_tiny_math_are_those_of_the_documentation():
    """Accuracy at the end, sampled and in brackets greedy, of seeds 0 to 4 in each cell."""
    lines = (RESULTS / "further" / "tiny_math_controls.jsonl").read_text(encoding="utf-8").splitlines()
    lines += (RESULTS / "tiny_math-quick.jsonl").read_text(encoding="utf-8").splitlines()
    records, text = [parse_record(line, "committed") for line in lines], (RESULTS.parent / "docs" / "language.md")
    for right in (0.5, 0.2, 0.05):
        entries = []
        for name in ("tpo", "tpo_length_norm", "grpo", "maxrl"):
            cell = [r for r in records if r.spec["algorithm"] == name and r.spec["cell"]["right"] == right]
            runs = [r for r in cell if r.spec["seed"] < 5]  # those that the controls have, too
            assert sorted(r.spec["seed"] for r in runs) == list(range(5))
            sampled, greedy = (
                sum(100 - 100 * r.curve[metric][-1] for r in runs) / 5 for metric in ("error", "greedy_error")
            )
            entries.append(f"{sampled:.0f} ({greedy:.0f})")
        assert f"| {right} | {' | '.join(entries)} |" in text.read_text(encoding="utf-8")


def test_an_update_is_measured_part_by_part():
    """Of the same batch: sampling, log-probs, the loss, and the whole update; tokens, time and memory are positive."""
    small = ["task.warm_steps=3", "task.prompts=2", "task.candidates=2"]
    rows = list(rows_of("tiny", "tpo", small, "cpu", 1))
    assert [row[1] for row in rows] == ["generation", "log-probs", "loss", "update"]
    assert rows[0][0] == "tiny, 2 problems × 2 completions of at most 15 tokens"
    assert all(float(number) > 0 for row in rows for number in (row[2], row[4]))
