"""Forests of token sequences: every distinct prefix of a batch, prompts included, is one row for the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tpobench.policies.prefix_tree import Ints

Nodes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Forest:
    """Rows in an order in which parents come before children: token, position, parent, answer, each (N,).

    `answer` is the row's place among the logits, -1 where none are asked for.
    """

    nodes: Nodes  # (4, N)
    answers: int

    @property
    def rows(self) -> int:
        """N."""
        return int(self.nodes.shape[1])

    @cached_property
    def in_memory(self) -> tuple[int, int]:
        """Where the nodes lie, and how many numbers from one of their four lines to the next."""
        return self.nodes.ctypes.data, self.nodes.strides[0] // self.nodes.itemsize


@dataclass(frozen=True)
class Sequences:
    """Prompts and answers of a batch."""

    prompts: Ints  # (S, B, H)
    actions: Ints  # (S, B, K, T)


@dataclass(frozen=True)
class PackedForest:
    """One forest per seed, and where each candidate's log-probs stand in the table (S, M * V) of the largest."""

    forests: tuple[Forest, ...]
    index: Tensor  # (S, B * K * T)
    shape: tuple[int, int, int, int]  # (S, B, K, T)

    @property
    def tokens(self) -> int:
        """Rows of all forests."""
        return sum(forest.rows for forest in self.forests)


def grow(sequences: Ints, length: Ints, first: int) -> tuple[tuple[Forest, ...], Ints]:
    """Forests of the first `length` (R,) tokens of sequences (S, R, L), depth first, and every token's row (S, R, L).

    Rows at positions from `first` on answer.  Tokens are sorted as bytes, in which 0 says that a sequence has ended.
    """
    S, R, L = sequences.shape
    within = np.where(np.arange(L) < length[:, None], sequences + 1, 0).astype(np.uint8)
    order = np.argsort(within.view(f"S{L}")[..., 0], axis=1, kind="stable")
    within = np.take_along_axis(within, order[..., None], axis=1)
    new = np.ones((S, R, L), dtype=bool)
    new[:, 1:] = np.logical_or.accumulate(within[:, 1:] != within[:, :-1], axis=2)
    new &= within > 0
    count = np.cumsum(new.reshape(S, -1), axis=1)
    row_of = np.maximum.accumulate(np.where(new, count.reshape(S, R, L) - 1, -1), axis=1)
    seed, sequence, position = np.nonzero(new)
    nodes = np.empty((4, len(position)), dtype=np.int32)
    nodes[0] = within[seed, sequence, position] - 1
    nodes[1] = position
    nodes[2] = np.where(position > 0, row_of[seed, sequence, position - 1], -1)
    answers = (new & (np.arange(L) >= first)).reshape(S, -1).cumsum(axis=1)
    nodes[3] = np.where(position >= first, answers.reshape(S, R, L)[seed, sequence, position] - 1, -1)
    back = np.empty_like(row_of)
    np.put_along_axis(back, order[..., None], row_of, axis=1)
    each = np.split(nodes, count[:, -1].cumsum()[:-1], axis=1)
    return tuple(map(Forest, each, answers[:, -1].tolist())), back


def pack(sequences: Sequences, vocabulary: int, *, keep: Ints | None = None, reach: Ints | None = None) -> PackedForest:
    """The forests of all contexts, or of the contexts `keep` (b,) of every seed.

    `reach` (b,) leaves out what only tokens after the first reach + 1 of each kept context need; their places in the
    index mean nothing then.
    """
    prompts, actions = sequences.prompts, sequences.actions
    if keep is not None:
        prompts, actions = prompts[:, keep], actions[:, keep]
    S, B, K, T = actions.shape
    H = prompts.shape[2]
    inputs = np.empty((S, B, K, H + T - 1), dtype=np.int64)  # the last token is never an input
    inputs[..., :H] = prompts[:, :, None]
    inputs[..., H:] = actions[..., :-1]
    length = np.full(B * K, H + T - 1) if reach is None else np.repeat(H + np.minimum(reach, T - 1), K)
    forests, row = grow(inputs.reshape(S, B * K, -1), length, H - 1)
    place = np.stack([forest.nodes[3][own] for forest, own in zip(forests, row[..., H - 1 :], strict=True)])
    index = np.maximum(place.astype(np.int64) * vocabulary + actions.reshape(S, B * K, T), 0)
    return PackedForest(forests, torch.from_numpy(index.reshape(S, B * K * T)), (S, B, K, T))
