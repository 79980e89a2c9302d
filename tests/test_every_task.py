"""Every kind of task keeps the contract that a user's own is held to, and each way to break it is found."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from tpobench.algorithms.promises import Promise, refusal
from tpobench.tasks.catalog import TASKS, SampledSettings
from tpobench.tasks.contract import CONTRACT, LIMITS, examine
from tpobench.tasks.sampled import SampledTask
from tpobench.tasks.settings import TaskSettings
from tpobench.tasks.task import Task

DOCS = Path(__file__).parent.parent / "docs"
COIN = (DOCS / "examples" / "coin.py").read_text(encoding="utf-8")


def coin(old: str = "", new: str = "") -> type[TaskSettings]:
    """The kind of the documentation's example, with a text of its file replaced."""
    assert old in COIN, old
    module = ModuleType("coin_of_the_documentation")
    sys.modules[module.__name__] = module  # where a dataclass looks its types up
    TASKS.pop("coin", None)
    exec(compile(COIN.replace(old, new) if old else COIN, "coin.py", "exec"), vars(module))  # noqa: S102 - our own file
    return TASKS["coin"]


@pytest.mark.parametrize("promise", [*CONTRACT, *LIMITS], ids=lambda promise: promise.text)
@pytest.mark.parametrize("kind", [*TASKS, "coin"])
def test_keeps_its_contract(kind: str, promise: Promise[type[TaskSettings]]) -> None:
    """What is asked of a user's task holds for ours and for the documentation's, without a limit."""
    settings = TASKS[kind] if kind in TASKS else coin()
    for package in settings.packages({}):
        pytest.importorskip(package)
    assert [str(breach) for finding in examine(settings, [promise]) for breach in finding.breaches] == []


DECLARED, ROLLOUT, MEASURED, SAME, SEEDS, SNAPSHOT, UNCHANGED, EXACT, BETTER = (
    "its settings say", "a rollout has", "what is measured", "the same noise", "seeds are independent",
    "log-probs at the same", "measuring changes nothing", "the first metric is exact", "more reward",
)  # fmt: skip
DECORATED = "@register_task\n@dataclass(frozen=True)\n"
OFFERS = '    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates"})\n'
ERROR = '{"error": policy.logp()[:, 0].exp(),'
REWARD = '"reward": self.value(policy)}'
BASELINE = "reward.mean((1, 2), keepdim=True)"
NOISE = 'self.noise.uniform("reward", step, (K,))'
OF_DRAWS = "policy.logp().gather(1, rollout.inputs)"
# ruff: noqa: E501 - a table
BREACHES = {
    "no declaration": (OFFERS, "", DECLARED, "settings has no offers; say offers: ClassVar"),
    "offers an unknown": (OFFERS, OFFERS.replace("draws", "draw"), DECLARED, "settings has offers draw; name some of candidates, draws"),
    "no direction": ("(ERROR, Metric", '(Metric("error"), Metric', DECLARED, "settings does not say whether error is better when lower"),
    "a metric twice": ("GRADIENT_NORM)", "ERROR)", DECLARED, "settings has metrics that are no Metric, or none, or one twice"),
    "no dataclass": (DECORATED, "@register_task\n", DECLARED, "settings is no dataclass of its own"),
    "a list": ("    worse: Chance = 0.2\n", "    worse: Chance = 0.2\n    arms: tuple = (1,)\n", DECLARED, "settings has arms of type"),
    "no default": ("worse: Chance = 0.2", "worse: Chance", DECLARED, "settings raises TypeError.*; give every setting a default"),
    "default out of bounds": ("worse: Chance = 0.2", "worse: Chance = 2.0", DECLARED, "settings raises ValueError: worse must be at least 0"),
    "half an interaction": ('"""Every draw."""\n        return self.candidates', '"""Every draw."""\n        return 0.5', DECLARED, "settings has interactions_per_step 0.5"),
    "settings that change": ("    @property\n    def interactions", "    def __post_init__(self):\n        object.__setattr__(self, 'worse', self.worse / 2)\n\n    @property\n    def interactions", "settings survive", "settings are not what they were after TOML"),
    "an error in it": ("        K = self.settings.candidates\n", "        K = self.settings.candidate\n", ROLLOUT, "rollout raises AttributeError"),
    "no rollout": ("return Rollout(groups, arm, interactions=K)", "return groups", ROLLOUT, "rollout gives CandidateGroups; give a Rollout"),
    "another shape": ("score=reward,", "score=reward[0],", ROLLOUT, "rollout raises ValueError: CandidateGroups.score has shape"),
    "a policy in float32": ("dtype=self.noise.dtype, ", "", ROLLOUT, "make_policy gives no theta"),
    "rewards in float32": (".to(logp.dtype)", ".float()", ROLLOUT, r"rollout gives groups.reward of shape \(3, 1, 8\), float32"),
    "a baseline without seeds": (f"baseline={BASELINE}", "baseline=reward.mean()", ROLLOUT, r"rollout gives groups.baseline of shape \(\)"),
    "a gradient": ("        with torch.no_grad():\n            logp = policy.logp()\n", "        logp = policy.logp()\n", ROLLOUT, "rollout gives groups.old_logp .*, with a gradient"),
    "weights": ("1 / K", "1.0", ROLLOUT, "rollout gives weights that do not sum to 1"),
    "probabilities": ("old_logp = logp.gather(1, arm)", "old_logp = logp.exp().gather(1, arm)", ROLLOUT, "rollout gives log-probs above 0"),
    "interactions": ("interactions=K", "interactions=1", ROLLOUT, "rollout counts 1 interactions, and interactions_per_step says 8"),
    "no graph": (OF_DRAWS, "policy.logp().detach().gather(1, rollout.inputs)", ROLLOUT, "logp gives shape .* or has no gradient"),
    "undeclared metric": ('{"gradient_norm":', '{"norm":', MEASURED, "evaluate and diagnose gives error, informative, norm, reward, and declared are"),
    "undeclared diagnostic": ("        return {}\n", '        return {"more": torch.zeros(len(self.noise.seeds))}\n', MEASURED, "examine gives more, and declared are none"),
    "one number for all seeds": (REWARD, '"reward": self.value(policy).mean()}', MEASURED, r"evaluate gives reward of shape \(\)"),
    "a number": (REWARD, '"reward": 0.5}', MEASURED, "evaluate gives .*; give a tensor for each name"),
    "out of range": (REWARD, '"reward": self.value(policy) + 1}', MEASURED, "evaluate and diagnose gives reward .* declared as at least 0 and at most 1"),
    "dice": (NOISE, "torch.rand(logp.shape[0], K, dtype=logp.dtype)", SAME, "rollout gives other groups.reward for the same noise"),
    "no step": ("step, (K,))", "0, (K,))", SAME, "rollout draws the same in every step"),
    "a baseline over seeds": (f"baseline={BASELINE}", "baseline=reward.mean((0, 1, 2), keepdim=True).expand(len(reward), 1, 1)", SEEDS, "rollout: baseline of seed 0 changes by"),
    "a metric over seeds": (REWARD, '"reward": self.value(policy) / len(policy.theta)}', SEEDS, "evaluate: reward of seed 3 changes by"),
    "other candidates": (OF_DRAWS, "policy.logp().gather(1, 1 - rollout.inputs)", SNAPSHOT, "logp is not old_logp at the same parameters"),
    "a temperature": (OF_DRAWS, "2 * policy.logp().gather(1, rollout.inputs)", SNAPSHOT, "logp is not old_logp at the same parameters"),
    "writes the policy": ("            metrics = {", "            policy.theta.add_(0.5)\n            metrics = {", UNCHANGED, "evaluate changes the policy"),
    "writes the groups": ("        return metrics\n", "        rollout.groups.reward.fill_(1)\n        return metrics\n", UNCHANGED, "evaluate writes into the groups"),
    "dice when measuring": ("        del policy, step\n", "        torch.rand(1)\n        del policy, step\n", UNCHANGED, "rollout draws from torch's random numbers"),
    "a share of the draws": (ERROR, '{"error": 1 - rollout.groups.reward.mean((1, 2)),', EXACT, "evaluate gives error that depends on what was drawn, by .* scored_rollouts"),
    "upside down": (ERROR, '{"error": policy.logp()[:, 1].exp(),', BETTER, 'evaluate gives error that gets worse .* is it "lower"'),
}  # fmt: skip


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_named_with_its_part(name: str) -> None:
    """The promise, the part, what it does, and what to do."""
    old, new, promise, words = BREACHES[name]
    findings = examine(coin(old, new))
    (broken, *_) = [f for f in findings if f.breaches]
    assert broken.promise.startswith(promise)
    assert re.match(words, str(broken.breaches[0])), str(broken.breaches[0])
    assert broken.state == ("limited" if promise == BETTER else "broken")
    assert len(refusal("coin", findings, "task")) >= (promise != BETTER)


def test_some_contexts_are_scored_for_themselves() -> None:
    """A rule that skips contexts asks for the log-probs of some: those, in the order asked for."""

    class Turned(SampledTask):
        def logp(self, policy: Any, rollout: Any, rows: Any) -> Any:
            return super().logp(policy, rollout, None if rows is None else rows.flip(0))

    @dataclasses.dataclass(frozen=True)
    class TurnedSettings(SampledSettings):
        kind: ClassVar[str] = "turned"
        task: ClassVar[Any] = Turned

    lines = refusal("turned", examine(TurnedSettings), "task")
    assert lines[0].startswith(
        "task 'turned': logp is not old_logp at the same parameters for the contexts [0, 1, 2, 3, 4, 5]; give log pi"
    )


def test_what_rests_on_a_broken_promise_is_not_reached() -> None:
    """One mistake is one line."""
    findings = examine(coin("score=reward,", "score=reward[0],"))
    assert [f.state for f in findings] == ["kept", "kept", "broken", *["not reached"] * (len(findings) - 3)]


def test_what_is_declared_is_read_without_torch() -> None:
    """Suites are listed and records reported in a process that does not wait for it."""
    code = "import sys, tpobench.suites.load, tpobench.records.results; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_to_declare_and_what_is_promised_is_documented() -> None:
    """Every declaration of a kind, every method of a task and every promise stands in docs/tasks.md."""
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    methods = [name for name in vars(Task) if not name.startswith("_")]
    declarations = [*TaskSettings.__annotations__, *(n for n in vars(TaskSettings) if not n.startswith("_"))]
    helpers = {"recorded", "why_not", "make"}  # made of the others
    missing = [name for name in {*methods, *declarations} - helpers if not re.search(rf"`{name}\b", text)]
    assert missing + [p.text for p in CONTRACT if p.text not in text] == []
