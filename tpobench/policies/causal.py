"""A causal language model of Hugging Face as a policy: low-rank factors beside its linear layers are its parameters.

    y = W x + (alpha / r) B A x        A (r, in) ~ U(+-1 / sqrt(in)), B (out, r) = 0: LoRA, arXiv 2106.09685

theta (S, D) holds the factors of all layers; the weights W are read once per process, are never changed, and are shared
by every seed and by the untrained policy.  A prompt is computed once for all its completions, in sampling and in
scoring, and completions that have ended leave the batch.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tpobench.policies.language import GREEDY
from tpobench.policies.noise import Noise
from tpobench.policies.transformer import inverse_cdf

Prompt = Sequence[int]  # tokens
Prompts = Sequence[Prompt]


class Completions(NamedTuple):
    """What was drawn for B prompts, K times each."""

    tokens: Tensor  # (B, K, T), 0 after the end
    mask: Tensor  # (B, K, T) 1 on real tokens, of which an end is the last
    logp: Tensor  # (B, K, T) by which they were drawn, 0 after the end


class Scores(NamedTuple):
    """What a policy says of completions."""

    logp: Tensor  # (B, K, T), with graph
    entropy: Tensor  # (B, K, T) of the next token, without


class LowRank(nn.Module):
    """A linear layer, with B A x beside it while factors are set."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.factors: tuple[Tensor, Tensor] | None = None  # A (r, in), B (out, r) times alpha / r

    @property
    def weight(self) -> Tensor:
        """Of the layer: some architectures ask for its type."""
        return self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        """The layer's answer and its correction."""
        y: Tensor = self.layer(x)
        if self.factors is None:
            return y
        A, B = self.factors
        return y + F.linear(F.linear(x, A), B)


def contiguous(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What goes into a head: for a slice, as the last states of prompts are, torch copies its weights B times."""
    del layer
    return tuple(x.contiguous() for x in inputs)


@dataclass(frozen=True)
class Weights:
    """A model's weights with a place for factors beside each linear layer, and its tokenizer."""

    module: Any
    tokenizer: Any
    layers: tuple[LowRank, ...]
    ends: tuple[int, ...]  # tokens that end a completion

    @classmethod
    def of(cls, module: Any, tokenizer: Any) -> Weights:
        """Every linear layer but the head gets its place; weights stay as they are.

        Raises:
            ValueError: it has no linear layers, no end, no tokenizer, or fewer embeddings than that has tokens.
        """
        module.eval().requires_grad_(requires_grad=False)  # no dropout in either pass
        head = module.get_output_embeddings()
        places = [
            (parent, name, child)
            for parent in module.modules()
            for name, child in parent.named_children()
            if isinstance(child, nn.Linear) and child is not head
        ]
        for parent, name, child in places:
            setattr(parent, name, LowRank(child))
        head.register_forward_pre_hook(contiguous)
        ends = module.generation_config.eos_token_id if module.can_generate() else None
        listed = ends if isinstance(ends, list) else [ends]
        known = sorted({end for end in (*listed, tokenizer.eos_token_id) if end is not None})
        problem = (
            "has no linear layers for low-rank factors" if not places
            else "and its tokenizer name no token that ends a text" if not known
            else f"has {module.get_input_embeddings().num_embeddings} embeddings and its tokenizer {len(tokenizer)} "
            "tokens: they do not belong together" if len(tokenizer) > module.get_input_embeddings().num_embeddings
            else "has no tokenizer: what was read in its place knows no text" if not tokenizer("0")["input_ids"]
            else ""
        )  # fmt: skip
        if problem:
            raise ValueError(problem)
        return cls(module, tokenizer, tuple(getattr(p, name) for p, name, _ in places), tuple(known))

    @functools.cached_property
    def cache(self) -> str:
        """How the forward pass calls what it keeps of a prefix."""
        return "cache" if "cache" in inspect.signature(self.module.forward).parameters else "past_key_values"

    @functools.cached_property
    def texts(self) -> list[str]:
        """The text of every token by itself."""
        texts: list[str] = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        return texts

    def encode(self, question: str, begun: str, template: str, system: str, *, thinking: bool) -> list[int]:
        """The tokens of a question as the model's chat template or another one has it, and of its answer's beginning.

        Raises:
            ValueError: there is no template.
        """
        if template:
            text = template.replace("{question}", question)
        else:
            if not self.tokenizer.chat_template:
                msg = "its tokenizer has no chat template; write one into task.template, with {question} in it"
                raise ValueError(msg)
            messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": question}]
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=thinking
            )
        tokens: list[int] = self.tokenizer(text + begun, add_special_tokens=False)["input_ids"]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Their text without marks of an end."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def __call__(self, tokens: Tensor, mask: Tensor, position: Tensor, cache: Any, **more: Any) -> Tensor:
        """Logits of the next tokens, in the type of the weights: (n, t, V)."""
        given = {self.cache: cache, "use_cache": True, "position_ids": position, **more}
        logits: Tensor = self.module(input_ids=tokens, attention_mask=mask, **given).logits
        return logits


@dataclass(frozen=True)
class CausalPolicy:
    """pi_theta over texts, one theta per seed."""

    theta: Tensor  # (S, D), a contiguous leaf that requires grad
    weights: Weights
    rank: int
    scale: float  # alpha / r

    @classmethod
    def initial(cls, noise: Noise, weights: Weights, rank: int, alpha: float) -> CausalPolicy:
        """The model itself: B = 0."""
        sizes = [(layer.layer.in_features, layer.layer.out_features) for layer in weights.layers]
        bound = torch.cat([torch.full((n * rank,), 1 / math.sqrt(n)) for n, _ in sizes]).to(noise.device, noise.dtype)
        A = (2 * noise.uniform("factors", 0, (len(bound),)) - 1) * bound
        B = A.new_zeros(len(A), rank * sum(m for _, m in sizes))
        return cls(torch.cat([A, B], dim=1).requires_grad_(), weights, rank, alpha / rank)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """All factors as one tensor: the A of every layer, then the B of every layer."""
        return (self.theta,)

    def use(self, seed: int) -> None:
        """From now on the weights have this policy's factors for the seed at a place of the stack."""
        layers = self.weights.layers
        sizes = [n.layer.in_features * self.rank for n in layers] + [n.layer.out_features * self.rank for n in layers]
        parts = self.theta[seed].to(layers[0].layer.weight.dtype).split(sizes)  # type: ignore[no-untyped-call]
        for layer, A, B in zip(layers, parts[: len(layers)], parts[len(layers) :], strict=True):
            layer.factors = A.view(self.rank, -1), B.view(-1, self.rank) * self.scale

    @torch.no_grad()
    def sample(self, seed: int, prompts: Prompts, uniform: Tensor, stops: Tensor) -> Completions:
        """Completions by inverse cdf at uniforms (B, K, T), the most probable token where one is GREEDY.

        stops: the tokens (n,) that end a completion.
        """
        self.use(seed)
        B, K, T = uniform.shape
        cache, logits, mask, position = self._prefix(prompts, K)
        rows, real = torch.arange(B * K, device=uniform.device), uniform.new_zeros(B * K, T)
        tokens, logp, u = torch.zeros_like(real, dtype=torch.int64), torch.zeros_like(real), uniform.reshape(B * K, T)
        for t in range(T):
            log_pi = logits.to(self.theta.dtype).log_softmax(-1)
            chosen = choose(log_pi, u[rows, t])
            tokens[rows, t], real[rows, t] = chosen, 1.0
            logp[rows, t] = log_pi.gather(1, chosen.unsqueeze(1)).squeeze(1)
            going = (~torch.isin(chosen, stops)).nonzero().squeeze(1)
            if t == T - 1 or len(going) == 0:
                break
            if len(going) < len(rows):
                cache.batch_select_indices(going)
                rows, chosen, mask, position = rows[going], chosen[going], mask[going], position[going]
            mask, position = F.pad(mask, (0, 1), value=1), position + 1
            logits = self.weights(chosen.unsqueeze(1), mask, position, cache)[:, -1]
        return Completions(*(x.view(B, K, T) for x in (tokens, real, logp)))

    def score(self, seed: int, prompts: Prompts, tokens: Tensor, mask: Tensor) -> Scores:
        """Log-probs and entropies of the real tokens of completions (B, K, T), 0 on the others."""
        self.use(seed)
        B, K, T = tokens.shape
        longest = int(mask.sum(-1).max())
        cache, logits, before, position = self._prefix(prompts, K)
        flat, real = tokens.view(B * K, T)[:, :longest], mask.view(B * K, T)[:, :longest]
        parts = [logits.unsqueeze(1)]
        if longest > 1:
            attended = torch.cat([before, real[:, :-1].to(before.dtype)], 1)
            places = position + torch.arange(1, longest, device=tokens.device)
            parts.append(self.weights(flat[:, :-1], attended, places, cache))
        log_pi = [part.to(self.theta.dtype).log_softmax(-1) for part in parts]
        logp = torch.cat([x.gather(2, flat[:, i : i + x.shape[1], None]) for i, x in enumerate(log_pi)], 1).squeeze(2)
        with torch.no_grad():
            entropy = torch.cat([-(x.exp() * x).sum(-1) for x in log_pi], 1)
        padded = [F.pad(x * real, (0, T - longest)).view(B, K, T) for x in (logp, entropy)]
        return Scores(*padded)

    def _prefix(self, prompts: Prompts, K: int) -> tuple[Any, Tensor, Tensor, Tensor]:
        """The prompts, each computed once and then repeated K times: what is kept of them, logits, mask, last place."""
        from transformers import DynamicCache  # noqa: PLC0415 - an extra

        device = self.theta.device
        tokens, mask = left_padded(prompts)
        tokens, mask = tokens.to(device), mask.to(device)
        position = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache()
        logits = self.weights(tokens, mask, position, cache, logits_to_keep=1)[:, -1]
        cache.batch_repeat_interleave(K)
        return cache, *(x.repeat_interleave(K, 0) for x in (logits, mask, position[:, -1:]))


def choose(log_pi: Tensor, uniform: Tensor) -> Tensor:
    """The token that each uniform stands for, the most probable one where it is GREEDY: (n, V), (n,) -> (n,)."""
    return torch.where(uniform == GREEDY, log_pi.argmax(-1), inverse_cdf(log_pi, uniform))


def left_padded(prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Tokens (B, H), 0 before each prompt, and the mask (B, H) of what is real."""
    H = max(map(len, prompts))
    tokens = torch.tensor([[0] * (H - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (H - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return tokens, mask
