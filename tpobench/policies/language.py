"""The decoder as a language model: answers end at a token, queries and keys are normalised, and it can be greedy."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tpobench.policies.transformer import HEAD, TransformerPolicy, inverse_cdf

END = 0
GREEDY = -1.0
"""In place of a uniform: the most probable token."""


class LanguagePolicy(TransformerPolicy):
    """`TransformerPolicy` with QK-norm (RMS, no gain; arXiv 2302.05442), against peaked attention."""

    end: ClassVar[int | None] = END

    def choose(self, log_pi: Tensor, uniform: Tensor) -> Tensor:
        """The token that each uniform stands for, the most probable one where it is GREEDY."""
        return torch.where(uniform == GREEDY, log_pi.argmax(-1), inverse_cdf(log_pi, uniform))

    def _qkv(self, i: int, x: Tensor) -> Tensor:
        qkv = super()._qkv(i, x)
        return torch.cat([F.rms_norm(qkv[:2], (HEAD,)), qkv[2:]])
