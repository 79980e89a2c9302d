"""Where an algorithm's update beats a push of the right class against the rest (TPO section 3.3, figure 4b, app. C).

For a misclassified image with label y and policy pi, g is the algorithm's expected update of the logits, over the class
that pi names.  To first order it raises pi_y by

    gain   = pi_y (e_y - pi) . g
    scalar = pi_y beta(pi_y) |e_y - pi|^2,  the gain of the update beta (e_y - pi) that does not look at which class is
             wrong; beta is the algorithm's own where all wrong classes are equally likely: g_sym = beta (e_y - pi_sym)

and surplus = gain - scalar.  Images are binned by the concentration of the wrong mass,
c = max_{j != y} pi_j / (1 - pi_y).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.tasks.classification import classify, one_hot

EDGES = (0.25, 0.5, 0.75)
"""Bounds of the four bins of concentration; a bound belongs to the upper bin."""
CHUNK = 2048
"""Images whose draws are enumerated at once: the working set stays in the cache."""


def mechanism(algorithm: Algorithm, log_pi: Tensor, label: Tensor) -> Mapping[str, Tensor]:
    """Sums over misclassified images, by bin of concentration i: name_i -> (S,); `log_pi` is (S, K, M), `label` (M,).

    gain_sum, scalar_sum and surplus_sum, and the `count` of images; 0 in an empty bin.
    """
    seeds = []
    for log_pi_s in log_pi:
        wrong = (log_pi_s.argmax(0) != label).nonzero().squeeze(-1)
        seeds.append(_sums(algorithm, log_pi_s.index_select(1, wrong).mT[None], label[wrong][None]))
    return {name: torch.stack([sums[name] for sums in seeds]) for name in seeds[0]}


def _sums(algorithm: Algorithm, log_pi: Tensor, label: Tensor) -> dict[str, Tensor]:
    """The same for the misclassified images of one seed, (1, n, K) and (1, n): name_i -> ()."""
    gain, scalar = gains(algorithm, log_pi, label)
    values = {"gain": gain, "scalar": scalar, "surplus": gain - scalar}
    usable = gain.isfinite() & scalar.isfinite()
    edges = torch.tensor(EDGES, dtype=log_pi.dtype, device=log_pi.device)
    place = torch.bucketize(concentration(log_pi, label), edges, right=True)
    sums = {}
    for i in range(len(EDGES) + 1):
        member = usable & (place == i)
        sums[f"count{i}"] = member.sum().to(log_pi.dtype)
        for name, value in values.items():
            sums[f"{name}_sum{i}"] = value[member].sum()
    return sums


def concentration(log_pi: Tensor, label: Tensor) -> Tensor:
    """c = max_{j != y} pi_j / (1 - pi_y), the share of the wrong mass that the likeliest wrong class has: (S, n)."""
    rest = _without(log_pi, label)
    return (rest.amax(-1) - rest.logsumexp(-1)).exp()


def gains(algorithm: Algorithm, log_pi: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """First-order gains in pi_y of the expected update and of its scalar surrogate: (S, n, K) -> (S, n) each."""
    K = log_pi.shape[-1]
    y = label.unsqueeze(-1)
    log_rest = _without(log_pi, label).logsumexp(-1, keepdim=True)
    symmetric = (log_rest - math.log(K - 1)).expand_as(log_pi).scatter(2, y, log_pi.gather(2, y))
    beta = expected_update(algorithm, symmetric, label).gather(2, y) / log_rest.exp()
    direction = one_hot(label, log_pi) - log_pi.exp()
    p_y = log_pi.gather(2, y).exp().squeeze(-1)
    gain = p_y * (direction * expected_update(algorithm, log_pi, label)).sum(-1)
    return gain, p_y * beta.squeeze(-1) * direction.square().sum(-1)


def expected_update(algorithm: Algorithm, log_pi: Tensor, label: Tensor) -> Tensor:
    """E_{a ~ pi}[-d loss / d logits] of each image: (S, n, K).

    An algorithm that looks at what was named alone takes it in one step, weighted by pi (one that standardises over the
    batch takes these images for its batch).  One that compares candidates sees the score vector of every draw in turn.
    """
    if algorithm.compares == "nothing":
        return _update(algorithm, log_pi, label, log_pi.exp(), draws=math.inf)
    K = log_pi.shape[-1]
    parts = []
    for some, y in zip(torch.split(log_pi, CHUNK, dim=1), torch.split(label, CHUNK, dim=1), strict=True):
        S, n, _ = some.shape
        each = some.mT.repeat_interleave(K, dim=2).mT  # (S, n K, K): every image once for every class it may be given
        action = torch.arange(K, device=y.device).repeat(n).expand(S, -1)
        update = _update(algorithm, each, y.repeat_interleave(K, dim=1), one_hot(action, each))
        parts.append((update.view(S, n, K, K) * some.exp().unsqueeze(-1)).sum(2))
    return torch.cat(parts, dim=1) if parts else torch.zeros_like(log_pi)


def _update(algorithm: Algorithm, log_pi: Tensor, label: Tensor, weight: Tensor, draws: float = 1) -> Tensor:
    """-d loss / d logits of each context at the snapshot: (S, B, K)."""
    groups = classify(log_pi, label, weight, draws)
    credit = algorithm.credit_for(groups)
    with torch.enable_grad():
        logits = log_pi.mT.detach().requires_grad_()
        loss = algorithm.loss(logits.log_softmax(1).mT.unsqueeze(-1), groups, credit).sum()
        return -torch.autograd.grad(loss, logits)[0].mT


def _without(log_pi: Tensor, label: Tensor) -> Tensor:
    """Log pi with -inf at the label."""
    return log_pi.scatter(2, label.unsqueeze(-1), -torch.inf)
