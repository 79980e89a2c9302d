"""The step of TRPO: along the natural gradient, as far as KL(pi_old || pi) allows (arXiv 1502.05477, appendix C).

F v = J'(w (J v)) with J = d log pi / d theta, which needs the candidates' log-probs alone.  J v is a central
difference, so any policy serves that can be differentiated once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import bounded, log_ratio
from tpobench.algorithms.ranges import Coefficient, Share
from tpobench.limits import Within

Count = Annotated[int, Within(1, 1000)]
LogProbs = Callable[[], Tensor]  # () -> (S, B, K, T) at the present theta, with graph
NOTHING = 1e-20  # of a curvature: the gradient is 0


def trust_region_step(
    theta: Tensor,
    parameters: Sequence[Tensor],
    gradient: Tensor,
    logp: LogProbs,
    loss: Callable[[Tensor], Tensor],
    groups: CandidateGroups,
    *,
    kl_bound: Annotated[float, Within(1e-8, 10.0)] = 0.01,
    damping: Coefficient = 0.1,
    iterations: Count = 10,
    shrink: Share = 0.8,
    tries: Count = 10,
) -> None:
    """theta -= s sqrt(2 kl_bound / x'Fx) x, x = (F + damping)^-1 g, s the first of 1, shrink, shrink^2, ... to serve.

    It serves if the loss (S,) falls and the KL is at most kl_bound; where none of `tries` does, theta stays.  Every
    seed stops for itself.  theta (S, ...) is changed in place, the leaves `parameters` are parts of it,
    gradient is (S, D).
    """
    flat = theta.detach().flatten(1)
    start, weight = flat.clone(), measure(groups)
    x, curvature = natural_direction(theta, parameters, gradient, logp, groups, damping=damping, iterations=iterations)
    with torch.no_grad():
        before = loss(logp())
        full = (2 * kl_bound / curvature.clamp_min(NOTHING)).sqrt().unsqueeze(1) * x
        share = torch.zeros_like(curvature)
        open_ = curvature > NOTHING
        for i in range(tries):
            trial = torch.where(open_, shrink**i, share)
            flat.copy_(_moved(start, trial, full))
            present = logp()
            d = bounded(log_ratio(present, groups))
            kl = (weight * (d.exp() - 1 - d)).sum(-1).mean(1)  # unbiased; exact where all arms are candidates
            serves = open_ & (loss(present) < before) & (kl <= kl_bound)
            share, open_ = torch.where(serves, trial, share), open_ & ~serves
            if theta.device.type == "cpu" and not bool(
                open_.any()
            ):  # more tries change nothing, and others must be asked
                break
        flat.copy_(_moved(start, share, full))


def natural_direction(
    theta: Tensor,
    parameters: Sequence[Tensor],
    gradient: Tensor,
    logp: LogProbs,
    groups: CandidateGroups,
    *,
    damping: float = 0.1,
    iterations: int = 10,
) -> tuple[Tensor, Tensor]:
    """x = (F + damping)^-1 g (S, D) by conjugate gradients, and x'Fx (S,)."""
    flat = theta.detach().flatten(1)
    start, weight = flat.clone(), measure(groups) / groups.reward.shape[1]
    size = torch.finfo(flat.dtype).eps ** (1 / 3) * (1 + start.norm(dim=1, keepdim=True))

    def product(v: Tensor) -> Tensor:
        """F v: the central difference of log pi along v, weighted, and taken back."""
        by = size / v.norm(dim=1, keepdim=True).clamp_min(NOTHING)
        with torch.no_grad():
            flat.copy_(start + by * v)
            ahead = logp()
            flat.copy_(start - by * v)
            behind = logp()
            flat.copy_(start)
            change = ((ahead - behind) * groups.mask).sum(-1) / (2 * by.unsqueeze(-1))
        with torch.enable_grad():
            along = ((logp() * groups.mask).sum(-1) * weight * change).sum()
            return torch.cat([g.flatten(1) for g in torch.autograd.grad(along, list(parameters))], dim=1)

    x, residual = torch.zeros_like(gradient), gradient.clone()
    direction, left = residual, (residual * residual).sum(1, keepdim=True)
    for _ in range(iterations):
        curved = product(direction) + damping * direction
        bend = (direction * curved).sum(1, keepdim=True)
        sound = (left > NOTHING) & (bend > 0)  # rounding may bend the other way: then x is as good as it gets
        length = torch.where(sound, left / torch.where(sound, bend, 1.0), 0.0)
        x, residual = x + length * direction, residual - length * curved
        now = (residual * residual).sum(1, keepdim=True)
        direction, left = torch.where(sound, residual + now / left.clamp_min(1e-30) * direction, 0.0), now
    return x, (x * product(x)).sum(1)


def _moved(start: Tensor, share: Tensor, step: Tensor) -> Tensor:
    """A share (S,) of the step from the start (S, D); the start itself where the share is 0, whatever the step is."""
    return torch.where(share.unsqueeze(1) > 0, start - share.unsqueeze(1) * step, start)


def measure(groups: CandidateGroups) -> Tensor:
    """What candidates count in F and KL: their probabilities in contexts that hold every arm, else the weights."""
    p = groups.old_sequence_logp.exp()
    return torch.where(((p.sum(-1, keepdim=True) - 1).abs() < 1e-4), p, groups.weight)
