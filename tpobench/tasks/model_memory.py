"""Memory of a job that trains a pretrained model, from its configuration and the heads of its weights' files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from tpobench.data.models import configuration, parameters
from tpobench.errors import DataUnavailable

LIBRARIES = 600 * 2**20  # torch and transformers
PROMPT = 128  # tokens that a prompt is taken to have
OF_MODEL, OF_HIDDEN = 16, 5  # numbers that a layer keeps of a token for its gradient, in widths of either kind


@dataclass(frozen=True)
class ModelSize:
    """What memory depends on."""

    parameters: int
    layers: int
    width: int  # of the stream between layers
    hidden: int  # units of a layer's perceptron
    keys: int  # numbers of a token's keys, or values
    vocabulary: int
    bytes_per_number: int

    @classmethod
    def of(cls, model: str, bytes_per_number: int) -> Self | None:
        """Of a model whose files are here, None of any other."""
        try:
            c: dict[str, Any] = configuration(model)
            width, heads = int(c["hidden_size"]), int(c["num_attention_heads"])
            keys = int(c.get("num_key_value_heads") or heads) * int(c.get("head_dim") or width // heads)
            layers, hidden = int(c["num_hidden_layers"]), int(c["intermediate_size"])
            return cls(parameters(model), layers, width, hidden, keys, int(c["vocab_size"]), bytes_per_number)
        except (DataUnavailable, OSError, ValueError, KeyError, TypeError, ArithmeticError):
            return None

    def bytes_of_job(self, seeds: int, prompts: int, rows: int, tokens: int, graph: int, rank: int) -> int:
        """Weights, keys and values, factors with gradient and moments, a graph, and logits in four copies of 4 bytes.

        rows: completions of a batch, of at most `tokens`.  graph: their tokens that are differentiated at once.
        """
        kept = 2 * self.keys * rows * (PROMPT + tokens)
        activations = seeds * (OF_MODEL * self.width + OF_HIDDEN * self.hidden) * (graph + prompts * PROMPT)
        factors = seeds * rank * (9 * self.width + 3 * self.hidden + 2 * self.keys)  # beside seven linear layers
        of_layers = self.bytes_per_number * (kept + activations) + 4 * 4 * factors
        logits = seeds * 4 * 4 * self.vocabulary * graph
        return LIBRARIES + self.bytes_per_number * self.parameters + self.layers * of_layers + logits
