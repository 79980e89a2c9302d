"""The gradient of a loss in two passes, for losses that tie candidates to each other: TPO's softmax ties a group's.

L(log pi) has the gradient sum_t g_t d log pi_t / d theta with g = dL / dlog pi at this policy.  So log-probs are taken
without graph, g is one number a token, and sum g log pi may then be differentiated in parts of any size and order.
"""

from __future__ import annotations

from collections.abc import Callable

from tpobench.algorithms.lazy import Tensor, torch


def slope(loss: Callable[[Tensor], Tensor], logp: Tensor) -> tuple[Tensor, Tensor]:
    """L and g = dL / dlogp at log-probs of any shape, both without graph; 0 where L does not depend on them."""
    leaf = logp.detach().requires_grad_()
    with torch.enable_grad():
        value = loss(leaf)
        (g,) = torch.autograd.grad(value, leaf, allow_unused=True)
    return value.detach(), torch.zeros_like(leaf) if g is None else g
