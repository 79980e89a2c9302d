"""What trains a recipe's runs, and what a recipe is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tpobench.planning.plan import RunSpec
from tpobench.suites.model import Suite
from tpobench.tasks.catalog import LanguageSettings, task_settings
from tpobench.tasks.problems import Problems, problems_of

UNCLIPPED = 1e9  # norm of a gradient that an engine is told where a suite clips none


@dataclass(frozen=True)
class Engine:
    """A trainer: what it needs to be told, and how it names what it logs at its step g.

    At step g = 1, 2, ... an engine logs the batch of the update that it makes there, and evaluations of the policy
    after it; g = 0 has an evaluation of the untrained policy.
    """

    name: str
    version: str
    stack: tuple[str, ...]  # requirements, as they were tried
    offers: frozenset[str]  # what algorithms may need
    edited: str  # what of them users may edit
    files: Callable[[Recipe], Mapping[str, str]]  # that it reads, beside those of every recipe
    why_not: Callable[[Recipe], str]  # why it cannot train this; empty where it can
    batch: Mapping[str, str]  # metric -> its name in the log
    evaluation: Mapping[str, str]  # the same, with the names of settings in braces
    loss: str  # its name; what stays null from a step on has diverged there
    seconds: str  # of a whole run, or of each step
    seed_scheme: str  # what two runs of one seed share


@dataclass(frozen=True)
class Recipe:
    """The runs of a suite with one cell, and what they are asked."""

    engine: Engine
    suite: Suite
    specs: tuple[RunSpec, ...]

    @cached_property
    def task(self) -> LanguageSettings:
        """The settings that all runs share."""
        settings = task_settings(self.specs[0].task)
        assert isinstance(settings, LanguageSettings)  # noqa: S101 - `recipe_of` has refused others
        return settings

    @cached_property
    def problems(self) -> Problems:
        """What is asked."""
        return problems_of(self.task.problems, self.task.largest)

    @property
    def begun(self) -> bool:
        """Whether the answers are begun for the model."""
        return bool(self.problems.trained[0].begun)

    @property
    def stop(self) -> str:
        """A token whose text has this ends an answer; empty: the model's own ends alone."""
        return "|".join(filter(None, (self.problems.stop, self.task.stop)))

    @property
    def training(self) -> Mapping[str, Any]:
        """Of the suite: single algorithms may have other learning rates and epochs."""
        return self.specs[0].training

    @property
    def between(self) -> int:
        """Updates from one evaluation to the next."""
        return int(self.training.get("evaluate_every", self.training["record_every"]))

    @property
    def algorithms(self) -> list[str]:
        """Their names, in the order of the plan."""
        return list(dict.fromkeys(spec.algorithm for spec in self.specs))
