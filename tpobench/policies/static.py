"""The transformer with shapes that do not depend on what is drawn, so that nothing waits for the device.

All K candidates of a prompt share its H tokens and nothing else: a context is a row of P = H + K (T - 1) tokens, the
candidates' one after another, whatever they are.  More tokens than in a prefix tree, but one constant mask, no search
for equal prefixes, and no number that the host must see before it can go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tpobench.policies.prefix_tree import Ints, PackedRows, PackedTree
from tpobench.policies.transformer import TransformerPolicy, inverse_cdf


@dataclass(frozen=True)
class Batch:
    """Prompts and answers, where they were drawn."""

    prompts: Tensor  # (S, B, H)
    actions: Tensor  # (S, B, K, T)


class StaticTransformer(TransformerPolicy):
    """The decoder of `TransformerPolicy` over all candidates, equal prefixes computed as often as they were drawn."""

    def paths(self, prompts: Tensor, tokens: Tensor) -> Batch:
        """Prompts (S, B, H) and tokens (S, B, K, T), to be packed."""
        return Batch(prompts, tokens)

    def pack(self, paths: Any, *, keep: Ints | None = None, reach: Ints | None = None) -> PackedTree:
        """The rows of all contexts, or of `keep` (b,); whole, whatever `reach` leaves out."""
        del reach
        prompts, actions = paths.prompts, paths.actions
        device = prompts.device
        if keep is not None:
            rows = torch.from_numpy(keep).to(device)
            prompts, actions = prompts[:, rows], actions[:, rows]
        S, B, K, T = actions.shape
        H, V = self.length, self.vocabulary
        token = torch.cat([prompts, actions[..., :-1].flatten(2)], dim=2)  # the last token is never an input
        position = torch.cat([torch.arange(H, device=device), torch.arange(H, H + T - 1, device=device).repeat(K)])
        P = len(position)
        # candidate k's token t is predicted at place 0 (the prompt's end), or 1 + k (T - 1) + t - 1
        place = torch.arange(K * (T - 1), device=device).view(K, T - 1) + 1
        place = torch.cat([place.new_zeros(K, 1), place], dim=1)
        node = torch.arange(B, device=device).view(B, 1, 1) * (P - H + 1) + place
        causal = torch.ones(H + T - 1, H + T - 1, dtype=torch.bool, device=device).tril()
        packed = PackedRows((S, B, P), self._one_hot(token, position.expand_as(token)).flatten(1, 2), causal)
        return PackedTree((packed,), (node * V + actions).flatten(1), (S, B, K, T), S * B * P)

    def _attention(self, rows: PackedRows, q: Tensor, k: Tensor, v: Tensor, first: int) -> Tensor:
        """Prompts over themselves; each candidate over its prompt and itself, so that no product is masked away."""
        H, causal = self.length, rows.attend
        trunk = F.scaled_dot_product_attention(
            q[:, :, first:H], k[:, :, :H], v[:, :, :H], attn_mask=causal[first:H, :H]
        )
        if len(causal) == H:  # answers of one token
            return trunk
        N, heads, _, size = k.shape
        q, k_own, v_own = (x[:, :, H:].reshape(N, heads, -1, len(causal) - H, size) for x in (q, k, v))
        keys, values = (
            torch.cat([x[:, :, None, :H].expand(*own.shape[:3], -1, -1), own], dim=3).flatten(0, 1)
            for x, own in ((k, k_own), (v, v_own))
        )
        branches = F.scaled_dot_product_attention(q.flatten(0, 1), keys, values, attn_mask=causal[H:])
        return torch.cat([trunk, branches.view(N, heads, -1, size)], dim=2)

    @torch.no_grad()
    def walk(self, prompts: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The drawn tokens (S, B, K, T), and log pi (S, B, K, T, V) of every token in the states that they pass."""
        S, B, K, T = uniform.shape
        cache: list[tuple[Tensor, Tensor]] = []
        table = self._prefill(prompts, cache).unsqueeze(2).expand(-1, -1, K, -1)
        parent: Tensor | None = torch.arange(S * B, device=prompts.device).repeat_interleave(K)
        tokens, tables = [], []
        for t in range(T):
            action = inverse_cdf(table, uniform[..., t])
            tokens.append(action)
            tables.append(table)
            if t < T - 1:
                table = self._extend(action.flatten(1), parent, self.length + t, cache).view(S, B, K, -1)
                parent = None
        return torch.stack(tokens, -1), torch.stack(tables, -2)
