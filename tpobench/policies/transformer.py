"""The paper's decoder, stacked over seeds: pre-norm, 2 layers, 2 heads of 32 (the paper's text says 4), d_model 64.

FFN 256 with tanh-GELU, learned positions, biases everywhere, LayerNorm eps 1e-6, untied head.  Parameters lie in one
flat vector theta (S, D) in the order the Muon optimiser wants: FFN kernels, the small matrices, then everything Adam
updates.  Which is which follows the rank of the Flax arrays of the reference: q/k/v/out kernels are 3-D there and go
to Adam, q/k/v biases are 2-D and go to Muon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tpobench.policies.initial import truncated_lecun
from tpobench.policies.noise import Noise
from tpobench.policies.optimizers import Block, Muon, muon_scale
from tpobench.policies.prefix_tree import Ints, PackedRows, Packing, build_paths, distinct_prompts, pack

LAYERS, HEADS, MODEL, HIDDEN = 2, 2, 64, 256
HEAD = MODEL // HEADS
EPSILON = 1e-6


@dataclass(frozen=True)
class Parameter:
    """One array inside theta: its shape per seed, and how it starts."""

    name: str
    shape: tuple[int, ...]
    init: str  # "lecun" | "embedding" | "position" | "zeros" | "ones"
    fan_in: int = 1


def layout(vocabulary: int, length: int) -> tuple[Parameter, ...]:
    """Every array in the order of theta; FFN-down kernels and the head are stored (out, in), to stack with others."""
    layers = range(LAYERS)
    return (
        *(Parameter(f"up{i}", (MODEL, HIDDEN), "lecun", MODEL) for i in layers),
        *(Parameter(f"down{i}", (MODEL, HIDDEN), "lecun", HIDDEN) for i in layers),
        Parameter("position", (2 * length, MODEL), "position"),
        Parameter("token", (vocabulary, MODEL), "embedding"),
        Parameter("head", (vocabulary, MODEL), "lecun", MODEL),
        *(Parameter(f"qkv_bias{i}", (3, HEADS, HEAD), "zeros") for i in layers),
        *(Parameter(f"qkv{i}", (MODEL, 3 * MODEL), "lecun", MODEL) for i in layers),
        *(Parameter(f"out{i}", (MODEL, MODEL), "lecun", MODEL) for i in layers),
        *(Parameter(f"{n}{i}", (MODEL,), "zeros") for i in layers for n in ("out_bias", "down_bias")),
        *(Parameter(f"up_bias{i}", (HIDDEN,), "zeros") for i in layers),
        *(Parameter(f"norm_scale{i}", (MODEL,), "ones") for i in range(2 * LAYERS + 1)),
        *(Parameter(f"norm_bias{i}", (MODEL,), "zeros") for i in range(2 * LAYERS + 1)),
        Parameter("head_bias", (vocabulary,), "zeros"),
    )


def muon_blocks(vocabulary: int, length: int) -> tuple[Block, ...]:
    """The leading matrices of theta with their scales; fan_in is axis 0 of the Flax array."""
    ffn = (muon_scale(MODEL, HIDDEN),) * LAYERS + (muon_scale(HIDDEN, MODEL),) * LAYERS
    blocks, offset = [], 0
    for count, rows, columns, scale in (
        (2 * LAYERS, MODEL, HIDDEN, ffn),
        (1, 2 * length, MODEL, (muon_scale(2 * length, MODEL),)),
        (2, vocabulary, MODEL, (muon_scale(vocabulary, MODEL), muon_scale(MODEL, vocabulary))),
        (3 * LAYERS, HEADS, HEAD, (muon_scale(HEADS, HEAD),) * (3 * LAYERS)),
    ):
        blocks.append(Block(offset, count, rows, columns, scale))
        offset += blocks[-1].size
    return tuple(blocks)


@dataclass
class TransformerPolicy:
    """theta (S, D) and, by name, leaf tensors (S, *shape) that share its memory and require grad."""

    end: ClassVar[int | None] = None  # the token after which nothing is computed; None: answers have one length

    theta: Tensor
    vocabulary: int
    length: int
    at: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.at = {name: part.detach().requires_grad_() for name, part in self.named(self.theta).items()}

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """What lies as theta does, (S, D), by the arrays' names: views (S, *shape)."""
        parameters = layout(self.vocabulary, self.length)
        parts = flat.split([torch.Size(p.shape).numel() for p in parameters], 1)  # type: ignore[no-untyped-call]
        return {p.name: part.view(-1, *p.shape) for p, part in zip(parameters, parts, strict=True)}

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Leaf tensors in the order of theta."""
        return list(self.at.values())

    def square_norm(self, gradient: Sequence[Tensor]) -> Tensor:
        """Of a gradient by the parameters, summed array by array: (S,)."""
        return torch.stack([g.flatten(1).square().sum(1) for g in gradient]).sum(0)

    @property
    def muon_blocks(self) -> tuple[Block, ...]:
        """The leading matrices of theta, which Muon updates."""
        return muon_blocks(self.vocabulary, self.length)

    def muon(self, learning_rate: float) -> Muon:
        """The optimiser that knows which parameters are matrices."""
        return Muon(learning_rate, self.muon_blocks, self.theta)

    @classmethod
    def initial(cls, noise: Noise, vocabulary: int, length: int) -> TransformerPolicy:
        """Flax's defaults: truncated lecun-normal kernels, zero biases, N(0, 1/64) tokens, N(0, .02^2) positions."""
        parts = [_initial(p, noise) for p in layout(vocabulary, length)]
        return cls(torch.cat(parts, dim=1).contiguous(), vocabulary, length)

    def paths(self, prompts: Tensor, tokens: Tensor) -> Any:
        """What a batch of prompts (S, B, H) and tokens (S, B, K, T) is packed from."""
        return build_paths(prompts.cpu().numpy(), tokens.cpu().numpy(), self.vocabulary, self.end)

    def pack(self, paths: Any, *, keep: Ints | None = None, reach: Ints | None = None) -> Packing:
        """The inputs of all contexts, or of `keep` (b,) as far as `reach` (b,); see `prefix_tree.pack`."""
        dtype, device = self.theta.dtype, str(self.theta.device)
        return pack(paths, self.vocabulary, keep=keep, reach=reach, dtype=dtype, device=device)

    def log_prob_table(self, tree: Any) -> Tensor:
        """log pi of every token after every predicting node, buckets concatenated: (S, nodes * V)."""
        tables = [self._forward(rows).flatten(1) for rows in tree.buckets]
        return tables[0] if len(tables) == 1 else torch.cat(tables, dim=1)

    def _forward(self, rows: PackedRows) -> Tensor:
        """log pi (S, R, P - H + 1, V) at the last prompt token and every node of the rows."""
        S, R, P = rows.shape
        first = self.length - 1
        x = self._embed(rows.one_hot).view(S, R, P, MODEL)
        for i in range(LAYERS):
            skip = first if i == LAYERS - 1 else 0  # the last layer answers at predicting positions only
            q, k, v = self._qkv(i, x)
            x = self._attended(i, x[:, :, skip:], self._attention(rows, q, k, v, skip))
            x = self._feed_forward(i, x)
        return self._predict(x).view(S, R, P - first, self.vocabulary)

    def _attention(self, rows: PackedRows, q: Tensor, k: Tensor, v: Tensor, first: int) -> Tensor:
        """softmax(Q K^T / sqrt(32)) V at the positions from `first` on: (S * R, heads, P - first, d_head)."""
        return F.scaled_dot_product_attention(q[:, :, first:], k, v, attn_mask=rows.attend[:, :, first:])

    def _embed(self, one_hot: Tensor) -> Tensor:
        """E[token] + P[position], as one product with a one-hot matrix (its backward is a product too)."""
        return torch.bmm(one_hot, torch.cat([self.at["token"], self.at["position"]], dim=1))

    def _embed_tokens(self, token: Tensor, position: Tensor) -> Tensor:
        """The same from indices (S, M, L)."""
        return self._embed(self._one_hot(token, position).flatten(1, -2)).view(*token.shape, MODEL)

    def _one_hot(self, token: Tensor, position: Tensor) -> Tensor:
        """Which token and which position each is: indices (S, ...) -> (S, ..., V + positions)."""
        sizes = ((token, self.vocabulary), (position, 2 * self.length))
        one_hot = [x.unsqueeze(-1) == torch.arange(size, device=x.device) for x, size in sizes]
        return torch.cat(one_hot, dim=-1).to(self.theta.dtype)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x W + b per seed: (S, ..., in) -> (S, ..., out)."""
        if len(weight) == 1:  # one seed: the same product with far fewer operations
            y = torch.addmm(bias.flatten(), x.reshape(-1, weight.shape[1]), weight.squeeze(0))
        else:
            y = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, -2), weight)
        return y.view(*x.shape[:-1], weight.shape[-1])

    def _normed_linear(self, n: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """LayerNorm_n, then x W + b; for stacked seeds the norm's scale and shift are folded into W and b."""
        scale, shift = self.at[f"norm_scale{n}"], self.at[f"norm_bias{n}"]
        if len(weight) == 1:
            return self._linear(F.layer_norm(x, (MODEL,), scale.squeeze(0), shift.squeeze(0), EPSILON), weight, bias)
        folded = (shift.unsqueeze(1) @ weight).squeeze(1) + bias
        return self._linear(F.layer_norm(x, (MODEL,), eps=EPSILON), scale.unsqueeze(-1) * weight, folded)

    def _qkv(self, i: int, x: Tensor) -> Tensor:
        """Queries, keys and values of layer i: (S, R, P, d_model) -> (3, S * R, heads, P, d_head)."""
        S, R, P, _ = x.shape
        projected = self._normed_linear(2 * i, x, self.at[f"qkv{i}"], self.at[f"qkv_bias{i}"].flatten(1))
        return projected.view(S * R, P, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)

    def _attended(self, i: int, x: Tensor, y: Tensor) -> Tensor:
        """X + out(y), x (S, R, P, d_model) and attention y (S * R, heads, P, d_head) at the queries' positions."""
        return x + self._linear(y.transpose(1, 2).reshape(x.shape), self.at[f"out{i}"], self.at[f"out_bias{i}"])

    def _feed_forward(self, i: int, x: Tensor) -> Tensor:
        """X + W_down gelu(W_up norm(x))."""
        h = self._normed_linear(2 * i + 1, x, self.at[f"up{i}"], self.at[f"up_bias{i}"])
        return x + self._linear(F.gelu(h, approximate="tanh"), self.at[f"down{i}"].mT, self.at[f"down_bias{i}"])

    def _predict(self, x: Tensor) -> Tensor:
        """Log softmax of the head of the final norm."""
        logits = self._normed_linear(2 * LAYERS, x, self.at["head"].mT, self.at["head_bias"])
        return logits.log_softmax(-1)

    @torch.no_grad()
    def sample(self, prompts: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Draw tokens by inverse CDF: prompts (S, B, H), uniform (S, B, K, T) -> tokens and log-probs (S, B, K, T)."""
        tokens, log_pi = self.walk(prompts, uniform)
        return tokens, log_pi.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)

    def choose(self, log_pi: Tensor, uniform: Tensor) -> Tensor:
        """The token that each uniform stands for: log pi (..., V), uniform (...) -> tokens (...)."""
        return inverse_cdf(log_pi, uniform)

    @torch.no_grad()
    def walk(self, prompts: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The drawn tokens (S, B, K, T), and log pi (S, B, K, T, V) of every token in the states that they pass.

        Level by level with a key/value cache over distinct (prompt, prefix) nodes only; each candidate keeps its own
        uniforms, so sharing nodes changes no sample.  After `end` come only more of it, and tables that mean nothing.
        """
        S, _, K, T = uniform.shape
        token, seed, row = distinct_prompts(prompts.cpu().numpy())
        nodes = _Slots.of(torch.from_numpy(seed).to(prompts.device), S)
        inputs = nodes.pad(torch.from_numpy(token).to(prompts.device))  # (S, M, H)
        here = nodes.slot[torch.from_numpy(row).to(prompts.device)].unsqueeze(-1).expand(-1, -1, K)
        cache: list[tuple[Tensor, Tensor]] = []
        log_pi = self._prefill(inputs, cache)
        tokens, tables = [], []
        live: Any = ...
        for t in range(T):
            table = log_pi.flatten(0, 1)[here]  # (S, B, K, V)
            action = self.choose(table, uniform[..., t])
            if self.end is not None:
                action = torch.where(live, action, self.end) if t else action
                live = action != self.end
            tokens.append(action)
            tables.append(table)
            if t == T - 1:
                break
            if self.end is not None and not live.any():
                tokens.extend([action] * (T - 1 - t))
                tables.extend([table] * (T - 1 - t))
                break
            key, inverse = torch.unique((here * self.vocabulary + action)[live], return_inverse=True)
            parent = key // self.vocabulary
            nodes = _Slots.of(parent // log_pi.shape[1], S)
            here = torch.zeros_like(here)
            here[live] = nodes.slot[inverse]
            above = nodes.pad(parent).flatten()
            same = torch.arange(len(cache[0][0]), device=above.device)
            branches = None if torch.equal(above, same) else above  # where nothing branches, nothing is copied
            log_pi = self._extend(nodes.pad(key % self.vocabulary), branches, self.length + t, cache)
        return torch.stack(tokens, -1), torch.stack(tables, -2)

    def _prefill(self, token: Tensor, cache: list[tuple[Tensor, Tensor]]) -> Tensor:
        """log pi (S, M, V) after whole prompts (S, M, H); fills the cache."""
        S, M, H = token.shape
        position = torch.arange(H, device=token.device).expand(S, M, H)
        x = self._embed_tokens(token, position)
        causal = torch.ones(H, H, dtype=torch.bool, device=token.device).tril()
        for i in range(LAYERS):
            q, k, v = self._qkv(i, x)
            cache.append((k, v))
            skip = H - 1 if i == LAYERS - 1 else 0
            y = F.scaled_dot_product_attention(q[:, :, skip:], k, v, attn_mask=causal[skip:])
            x = self._attended(i, x[:, :, skip:], y)
            x = self._feed_forward(i, x)
        return self._predict(x)[:, :, 0]

    def _extend(
        self, token: Tensor, parent: Tensor | None, position: int, cache: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """log pi (S, M, V) after one more token (S, M) below the nodes `parent` (S * M,) of the level above.

        parent: None where each node has the one in its own place.
        """
        x = self._embed_tokens(token, torch.full_like(token, position)).unsqueeze(2)  # rows of one token each
        above = slice(None) if parent is None else parent
        for i in range(LAYERS):
            q, k, v = self._qkv(i, x)
            keys, values = (torch.cat([old[above], new], dim=2) for old, new in zip(cache[i], (k, v), strict=True))
            cache[i] = (keys, values)
            x = self._feed_forward(i, self._attended(i, x, F.scaled_dot_product_attention(q, keys, values)))
        return self._predict(x).squeeze(2)


def inverse_cdf(log_pi: Tensor, uniform: Tensor) -> Tensor:
    """The token whose interval of the cumulated probabilities holds each uniform: log pi (..., V) -> tokens (...)."""
    return (uniform.unsqueeze(-1) >= log_pi.exp().cumsum(-1)[..., :-1]).sum(-1)


@dataclass(frozen=True)
class _Slots:
    """Ragged nodes of S seeds in a padded (S, M) grid; `slot` is each node's place in the flattened grid."""

    slot: Tensor  # (N,)
    seeds: int
    width: int

    @classmethod
    def of(cls, seed: Tensor, seeds: int) -> _Slots:
        """Nodes sorted by seed (N,)."""
        count = torch.bincount(seed, minlength=seeds)
        width = int(count.max())
        rank = torch.arange(len(seed), device=seed.device) - (count.cumsum(0) - count)[seed]
        return cls(seed * width + rank, seeds, width)

    def pad(self, x: Tensor) -> Tensor:
        """(N, ...) -> (S, M, ...), zero where there is no node."""
        grid = x.new_zeros(self.seeds * self.width, *x.shape[1:])
        grid[self.slot] = x
        return grid.view(self.seeds, self.width, *x.shape[1:])


def _initial(p: Parameter, noise: Noise) -> Tensor:
    """One array's starting values, flattened: (S, size)."""
    size, S = torch.Size(p.shape).numel(), len(noise.seeds)
    if p.init in ("zeros", "ones"):
        return torch.full((S, size), float(p.init == "ones"), dtype=noise.dtype, device=noise.device)
    if p.init == "lecun":
        return truncated_lecun(noise, f"init/{p.name}", p.fan_in, size)
    std = 0.02 if p.init == "position" else 1 / math.sqrt(MODEL)
    return noise.normal(f"init/{p.name}", 0, (size,)) * std
