"""Where modules that have moved stand now: `import tpobench.plan` still gives the module of that name."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "groups": "algorithms.groups",
    "execution.plugins": "plugins.load",
    "execution.plugin_check": "plugins.check",
    "execution.beside": "plugins.beside",
    "execution.undisturbed": "plugins.undisturbed",
    "execution.children": "children",
    "execution.units": "units",
    "images": "data.images",
    "execution.download": "data.download",
    "train": "training.loop",
    "optimizers": "policies.optimizers",
    "noise": "policies.noise",
    "verify": "execution.verify",
    "doctor": "execution.doctor",
    "plan": "planning.plan",
    "adaptive": "planning.looks",
    "search": "planning.levels",
    "datasets": "planning.datasets",
    "execution.devices": "planning.devices",
    "shapes": "records.shapes",
    "results": "records.results",
    "difference": "records.difference",
    "merge": "records.merge",
    "unverified": "scores.unverified",
    "report.cells": "scores.cells",
    "report.scores": "scores.estimates",
    "report.metrics": "scores.scalars",
    "report.families": "scores.pairing",
    "report.options": "scores.options",
    "report.text": "scores.text",
    "comparison.sides": "scores.sides",
    "comparison.measure": "scores.scalars",
    "detection": "comparison.detection",
    "suite": "suites.load",
    "suite_reading": "suites.reading",
    "suite_model": "suites.model",
    "bisection": "suites.search",
    "report.paper_figures": "paper.figures",
    "reproduce": "paper",
    "report.figures.paper": "paper.figures",
    "report.scorecards": "paper.scorecards",
    "comparison.judge": "comparison.rows",
    "cli.judge": "cli.check",
    "paper.judge": "paper.claim_verdicts",
    "paper.measure": "paper.number_verdicts",
    "paper.design": "paper.item_plans",
    "paper.scorecards.data": "paper.scorecards.exports",
    "report.data": "tables.exports",
    "report.latex": "tables.latex",
    "report.markdown": "tables.markdown",
    "report.page": "tables.page",
    "report.writers": "tables.writers",
}  # of the package, before and now; what lies below a package has moved with it


def place_of(name: str) -> str:
    """The full name of a module of this package now; empty where it has not moved."""
    package, _, inner = name.partition(".")
    parts = inner.split(".")
    tails = [(".".join(parts[:n]), ".".join(["", *parts[n:]]).rstrip(".")) for n in range(len(parts), 0, -1)]
    return next((f"{package}.{MOVED[head]}{tail}" for head, tail in tails if head in MOVED), "")


class _Moved(MetaPathFinder, Loader):
    """Under its old name, the module itself: there is never a second copy of its state."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return ModuleSpec(name, self) if name.startswith("tpobench.") and place_of(name) else None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(place_of(module.__name__))


def install() -> None:
    """From now on old names can be imported; before all other finders, which would load a second copy."""
    sys.meta_path.insert(0, _Moved())
