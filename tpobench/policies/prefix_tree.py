"""Packed prefix trees: every distinct (prompt, prefix) of a batch is computed once.

All candidates of a prompt, and of identical prompts of a batch, share their common prefixes.  The distinct nodes
(prefix -> token) of one prompt form a tree; its prompt tokens and nodes are packed into one row, and an ancestor mask
lets a token attend to the path from the root to itself.  One forward over the rows gives every log-prob of the batch
exactly, duplicates included, since candidates gather theirs by index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]
ROW_OVERHEAD = 400
"""Cost of one more bucket, in tokens: a forward and backward pass has a fixed cost per operation."""


class Packing(Protocol):
    """The inputs of a batch as a policy takes them, and where each candidate's log-probs stand in its table."""

    @property
    def index(self) -> Tensor:
        """(S, B * K * T) into the (S, nodes * V) table."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(S, B, K, T)."""

    @property
    def tokens(self) -> int:
        """Positions that a forward pass computes."""


@dataclass(frozen=True)
class PackedRows:
    """Rows of similar size: R rows per seed of P tokens each, the H prompt tokens first."""

    shape: tuple[int, int, int]  # (S, R, P)
    one_hot: Tensor  # (S, R * P, V + positions) of each token and of its position
    attend: Tensor  # (S * R, 1, P, P) 0 where query (row) may see key (column), else -inf


@dataclass(frozen=True)
class PackedTree:
    """Buckets of packed rows, and where each candidate's log-probs stand in the concatenated tables."""

    buckets: tuple[PackedRows, ...]
    index: Tensor  # (S, B * K * T) into the (S, nodes * V) table
    shape: tuple[int, int, int, int]  # (S, B, K, T)
    tokens: int  # rows x P summed over buckets: what one forward computes, padding included


@dataclass(frozen=True)
class Paths:
    """The prefix tree of a batch as arrays; nodes 0..N-1 in order of depth >= 1 (the root is the prompt)."""

    prompts: Ints  # (rows, H) distinct prompts, seed by seed
    prompt_seed: Ints  # (rows,)
    row: Ints  # (N,) prompt of each node
    parent: Ints  # (N,) node, or -1 for the prompt itself
    token: Ints  # (N,)
    depth: Ints  # (N,) 1..T-1
    prompt_of: Ints  # (S, B) row of each context
    path: Ints  # (S, B, K, T - 1) node of depth t reached by each candidate, -1 after its end
    actions: Ints  # (S, B, K, T)


def distinct_prompts(prompts: Ints) -> tuple[Ints, Ints, Ints]:
    """Distinct rows of (S, B, H), kept apart by seed: prompts (rows, H), seed (rows,), row of each context (S, B)."""
    S, B, H = prompts.shape
    keyed = np.concatenate([np.repeat(np.arange(S), B)[:, None], prompts.reshape(S * B, H)], axis=1)
    order = np.lexsort(keyed.T[::-1])
    ordered = keyed[order]
    first = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(1)])
    inverse = np.empty(S * B, dtype=np.int64)
    inverse[order] = np.cumsum(first) - 1
    unique = ordered[first]
    return unique[:, 1:], unique[:, 0], inverse.reshape(S, B)


def build_paths(prompts: Ints, actions: Ints, vocabulary: int, end: int | None = None) -> Paths:
    """The prefix tree of prompts (S, B, H) and actions (S, B, K, T); nothing is a node from the token `end` on."""
    rows, seed, prompt_of = distinct_prompts(prompts)
    T = actions.shape[-1]
    here = np.broadcast_to(prompt_of[..., None], actions.shape[:-1])
    node_rows: list[Ints] = []
    parents: list[Ints] = []
    tokens: list[Ints] = []
    depths: list[Ints] = []
    path: list[Ints] = []
    count = before = 0
    live: Any = ...
    for t in range(T - 1):  # the last token is never an input
        if end is not None:
            live = (actions[..., : t + 1] != end).all(-1)
        key, inverse = np.unique((here * vocabulary + actions[..., t])[live], return_inverse=True)
        above = key // vocabulary
        parents.append(above + before if t else np.full(len(key), -1))
        node_rows.append(node_rows[-1][above] if t else above)
        tokens.append(key % vocabulary)
        depths.append(np.full(len(key), t + 1))
        here = np.full(actions.shape[:-1], -1)
        here[live] = inverse.reshape(here[live].shape)
        before, count = count, count + len(key)
        path.append(np.where(here < 0, -1, here + before))
    empty = np.zeros(0, dtype=np.int64)
    return Paths(
        prompts=rows,
        prompt_seed=seed,
        row=np.concatenate([empty, *node_rows]),
        parent=np.concatenate([empty, *parents]),
        token=np.concatenate([empty, *tokens]),
        depth=np.concatenate([empty, *depths]),
        prompt_of=prompt_of,
        path=np.stack(path, axis=-1) if path else np.zeros((*actions.shape[:-1], 0), dtype=np.int64),
        actions=actions,
    )


def choose_buckets(nodes: Ints, prompt_length: int, limit: int = 3) -> Ints:
    """Largest node count of each bucket, at most `limit` of them, so that padded tokens plus overhead are fewest."""
    sizes, rows = np.unique(nodes, return_counts=True)
    below = np.concatenate([[0], np.cumsum(rows)])  # rows with fewer nodes than sizes[i]
    width = sizes + prompt_length
    # cost[i, j]: one bucket holding the sizes i..j
    cost = (below[1:][None, :] - below[:-1][:, None]) * width[None, :] + ROW_OVERHEAD
    n = len(sizes)
    best, last = cost[0].astype(float), [[j] for j in range(n)]
    for _ in range(limit - 1):
        # ends[i, j]: best covering of 0..i, then one bucket i+1..j
        ends = np.full((n, n), np.inf)
        ends[:-1] = np.where(np.arange(n)[None, :] > np.arange(n - 1)[:, None], best[:-1, None] + cost[1:], np.inf)
        split = ends.argmin(0)
        improved = ends.min(0) < best
        last = [[*last[split[j]], j] if improved[j] else last[j] for j in range(n)]
        best = np.minimum(best, ends.min(0))
    return sizes[last[-1]]


def pack(
    paths: Paths,
    vocabulary: int,
    *,
    keep: Ints | None = None,
    reach: Ints | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> PackedTree:
    """Pack the trees of all contexts, or of the contexts `keep` (b,) of every seed, into rows.

    `reach` (b,) leaves out what only tokens after the first reach + 1 of each kept context need; their places in the
    index mean nothing then.
    """
    prompt_of = paths.prompt_of if keep is None else paths.prompt_of[:, keep]
    path = paths.path if keep is None else paths.path[:, keep]
    actions = paths.actions if keep is None else paths.actions[:, keep]
    S, B, K, T = actions.shape
    H = paths.prompts.shape[1]
    used_rows, used = np.arange(len(paths.prompts)), np.arange(len(paths.row))
    if keep is not None:
        if reach is not None:
            path = np.where(np.arange(T - 1) < reach[:, None, None], path, -1)
        used_rows, used = np.unique(prompt_of), np.unique(path[path >= 0])
    nodes = np.bincount(paths.row[used], minlength=len(paths.prompts))[used_rows]
    bounds = choose_buckets(nodes, H) if S == 1 else np.array([nodes.max(initial=0)])
    bucket_of = np.zeros(len(paths.prompts), dtype=np.int64)
    bucket_of[used_rows] = np.searchsorted(bounds, nodes)
    order = used[np.argsort(paths.row[used], kind="stable")]  # by row, then by depth: parents come before children
    starts = np.zeros(len(paths.prompts), dtype=np.int64)
    starts[used_rows] = np.cumsum(nodes) - nodes
    column = np.zeros(len(paths.row) + 1, dtype=np.int64)
    column[order] = H + np.arange(len(order)) - starts[paths.row[order]]
    column[-1] = H - 1  # parent -1 is the last prompt token

    slot = np.zeros(len(paths.prompts), dtype=np.int64)  # row inside its seed's part of the bucket
    table_base = np.zeros(len(paths.prompts), dtype=np.int64)  # first predicting node of the row in the table
    buckets, offset, tokens = [], 0, 0
    for b, bound in enumerate(bounds):
        mine = used_rows[bucket_of[used_rows] == b]
        seed = paths.prompt_seed[mine]
        per_seed = np.bincount(seed, minlength=S)
        slot[mine] = np.arange(len(mine)) - (np.cumsum(per_seed) - per_seed)[seed]
        R, P = int(per_seed.max()), int(H + bound)
        table_base[mine] = offset + slot[mine] * (P - H + 1)
        inside = order[bucket_of[paths.row[order]] == b]
        at = seed * R + slot[mine]
        token, position, attend = _fill(paths, mine, inside, at, column, (S, R, P, H))
        one_hot = np.concatenate(
            [token[..., None] == np.arange(vocabulary), position[..., None] == np.arange(2 * H)], -1
        )
        features = torch.from_numpy(one_hot.reshape(S, R * P, -1)).to(device=device, dtype=dtype)
        hidden = torch.from_numpy(~attend[:, None]).to(device)
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, -torch.inf)
        buckets.append(PackedRows((S, R, P), features, mask))
        offset += R * (P - H + 1)
        tokens += S * R * P
    node = table_base[prompt_of][..., None, None] + np.zeros((1, 1, K, T), dtype=np.int64)
    if T > 1:
        node[..., 1:] += column[path] - (H - 1)
    index = (node * vocabulary + actions).reshape(S, B * K * T)
    return PackedTree(tuple(buckets), torch.from_numpy(index).to(device), (S, B, K, T), tokens)


def _fill(
    paths: Paths, rows: Ints, nodes: Ints, place: Ints, column: Ints, shape: tuple[int, int, int, int]
) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """One bucket's tokens and positions (S * R, P) and ancestor mask (S * R, P, P); padding sees itself only."""
    S, R, P, H = shape
    token = np.zeros((S * R, P), dtype=np.int64)
    position = np.zeros((S * R, P), dtype=np.int64)
    attend = np.zeros((S * R, P, P), dtype=bool)
    attend[:, np.arange(P), np.arange(P)] = True
    attend[:, :H, :H] |= np.tril(np.ones((H, H), dtype=bool))
    token[place, :H] = paths.prompts[rows]
    position[:, :H] = np.arange(H)
    place_of = np.zeros(len(paths.prompts), dtype=np.int64)
    place_of[rows] = place
    at = place_of[paths.row[nodes]]
    depth = paths.depth[nodes]
    token[at, column[nodes]] = paths.token[nodes]
    position[at, column[nodes]] = H - 1 + depth
    for d in range(1, int(depth.max(initial=0)) + 1):  # a node sees what its parent sees, and itself
        level = depth == d
        n = nodes[level]
        attend[at[level], column[n]] |= attend[at[level], column[paths.parent[n]]]
    return token, position, attend
