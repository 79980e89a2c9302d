"""Which algorithms are one and the same on a suite: by their gradients along its first updates, not by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tpobench.planning.choice import Choice
from tpobench.planning.plan import Job
from tpobench.suites.load import Suite, Value
from tpobench.training.loop import train

SEEDS = (0, 1)
UPDATES = 5  # of each run, every epoch of theirs
TOLERANCE = 1e-3  # of the distance of two unit gradients

Cell = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Classes:
    """Algorithms that are one and the same."""

    members: tuple[tuple[str, ...], ...]  # in every cell, which serve all of them or none
    by_cell: Mapping[Cell, tuple[tuple[str, ...], ...]]  # in one cell
    skipped: Mapping[str, str]  # algorithm -> why no cell can serve it


def classes_of(suite: Suite, algorithms: Iterable[str]) -> Classes:
    """Algorithms are one where each gradient of the first updates has one direction, for every seed, to TOLERANCE.

    Every algorithm is trained for UPDATES updates in float64 as the suite says, on its own groups and along its own
    path: the first gradient is that of the start, and who takes another step is elsewhere at the next.  Gradients are
    compared as unit vectors, since the optimizers of suites do not see a constant scale; one that changes leads
    elsewhere under Adam.
    """
    exact = replace(suite, training=replace(suite.training, dtype="float64", seed_batch=len(SEEDS)))
    plan = Choice(seeds=SEEDS).plan(exact, tuple(algorithms))
    paths: dict[Cell, dict[str, Tensor]] = {}
    first: dict[str, dict[Cell, str]] = {}  # algorithm -> cell -> the first one that does the same there
    for job in plan.jobs():
        spec = job.specs[0]
        cell = (*spec.cell.items(), *((("matching", spec.matching),) if spec.matching != "any" else ()))
        path, known = path_of(job), paths.setdefault(cell, {})
        alike = next((name for name, other in known.items() if same(path, other)), spec.algorithm)
        known.setdefault(alike, path)
        first.setdefault(spec.algorithm, {})[cell] = alike
    everywhere = grouped((name, tuple(places.items())) for name, places in first.items())
    cells = {c: grouped((name, places[c]) for name, places in first.items() if c in places) for c in paths}
    return Classes(everywhere, cells, {s.algorithm: s.reason for s in plan.skipped if s.algorithm not in first})


def grouped(pairs: Iterable[tuple[str, object]]) -> tuple[tuple[str, ...], ...]:
    """Names with equal keys together, in their order."""
    groups: dict[object, list[str]] = {}
    for name, key in pairs:
        groups.setdefault(key, []).append(name)
    return tuple(map(tuple, groups.values()))


def path_of(job: Job) -> Tensor:
    """The unit gradients of the first updates of a job: (gradient steps, S, D)."""
    seen: list[Tensor] = []

    def note(gradient: Tensor) -> Tensor:
        length = gradient.norm(dim=1, keepdim=True)
        seen.append((gradient / torch.where(length > 0, length, 1.0)).float())
        return gradient

    for _ in train(replace(job, until=UPDATES - 1), seen=note):
        pass
    return torch.stack(seen)


def same(path: Tensor, other: Tensor) -> bool:
    """Whether two runs took the same gradient steps up to a scale of each."""
    return path.shape == other.shape and bool(((path - other).norm(dim=2) <= TOLERANCE).all())
