"""The language model that training by reward starts from: a short supervised phase, made once and kept.

It is the miniature of a pretrained model: its corpus has right solutions and, mostly, wrong ones in good form, so it
knows the arithmetic and has the wrong habit.  It depends on the recipe alone, neither on seeds nor on the algorithm.
A file in the user's cache is named after the hash of the recipe and holds the hash of its numbers; where it cannot be
written or is damaged, the phase is gone through again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tpobench.data import files as data
from tpobench.policies.language import LanguagePolicy
from tpobench.policies.noise import Noise
from tpobench.policies.optimizers import Adam
from tpobench.tasks.word_problems import (
    END,
    TOKEN,
    WORDS,
    answer_length,
    encode,
    mistaken,
    problem_sets,
    prompt_length,
    solution,
)

VERSION = 1
BATCH = 32
LEARNING_RATE = 3e-3
RAMP = 50
"""Updates over which the learning rate rises; from there it falls linearly to 0."""


@dataclass(frozen=True)
class Recipe:
    """All that the warm start depends on."""

    operations: int
    right: float  # share of right solutions in the corpus
    steps: int

    @property
    def text(self) -> str:
        """As it is hashed."""
        return json.dumps({"version": VERSION, "batch": BATCH, "rate": LEARNING_RATE, "words": WORDS, **asdict(self)})


@functools.lru_cache(maxsize=8)
def warm_start(recipe: Recipe) -> Tensor:
    """theta (1, D) in float32, from the cache or made now; a copy is what may be changed."""
    path = data.cache() / "warm_starts" / f"{hashlib.sha256(recipe.text.encode()).hexdigest()[:24]}.npy"
    theta = _read(path)
    if theta is None:
        theta = supervised(recipe)
        _write(path, theta)
    return theta


def supervised(recipe: Recipe) -> Tensor:
    """Adam on -mean log pi(token) over BATCH problems a step, each with a right or a wrong solution: theta (1, D)."""
    noise = Noise("warm_start", recipe.text, (0,))
    length, T = prompt_length(recipe.operations), answer_length(recipe.operations)
    policy = LanguagePolicy.initial(noise, len(WORDS), length)
    problems, _ = problem_sets(recipe.operations)
    optimizer = Adam(LEARNING_RATE)
    for step in range(recipe.steps):
        stream = noise.generator("corpus", 0, step)
        chosen = stream.integers(len(problems.problems), size=BATCH)
        texts = [
            solution(p) if stream.random() < recipe.right else mistaken(p, stream)
            for p in (problems.problems[i] for i in chosen)
        ]
        tokens = torch.full((1, BATCH, 1, T), TOKEN[END])
        mask = torch.zeros(1, BATCH, 1, T)
        for i, text in enumerate(texts):
            ids = encode(text)
            tokens[0, i, 0, : len(ids)] = torch.tensor(ids)
            mask[0, i, 0, : len(ids)] = 1
        tree = policy.pack(policy.paths(torch.from_numpy(problems.prompts[chosen])[None], tokens))
        logp = policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape)
        gradient = torch.autograd.grad(-(logp * mask).sum() / mask.sum(), policy.parameters)
        optimizer.learning_rate = LEARNING_RATE * min((step + 1) / RAMP, 1 - step / recipe.steps)
        with torch.no_grad():
            optimizer.step(policy.theta, torch.cat([g.flatten(1) for g in gradient], dim=1))
    return policy.theta.detach()


def _read(path: Path) -> Tensor | None:
    """The numbers of a whole file, None where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, numbers = content[:32], content[32:]
    if hashlib.sha256(numbers).digest() != digest:
        return None
    return torch.from_numpy(np.frombuffer(numbers, dtype="<f4").copy())[None]


def _write(path: Path, theta: Tensor) -> None:
    """Moved into place whole, so that processes that make it at the same time do no harm."""
    numbers = theta.numpy().astype("<f4").tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="new-") as folder:
            new = Path(folder, path.name)
            new.write_bytes(hashlib.sha256(numbers).digest() + numbers)
            new.replace(path)
    except OSError:  # no home, no room: made anew by the next process
        return
