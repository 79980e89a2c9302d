"""The kernel of this machine, held to the plain path before it is used."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from tpobench.policies.native.build import NoKernel
from tpobench.policies.native.kernel import Kernel
from tpobench.policies.noise import Noise
from tpobench.policies.transformer import TransformerPolicy

TOLERANCE = 1e-3
"""Largest relative distance from the plain path that passes the self-test; float32 leaves about 1e-6."""


@lru_cache(maxsize=1)
def native_kernel() -> Kernel:
    """The machine's kernel, compiled and held to the plain path.

    Raises:
        NoKernel: no compiler, or it fails, or what it makes computes something else.
    """
    kernel = Kernel.compiled()
    require_same(kernel)
    return kernel


def require_same(kernel: Kernel) -> None:
    """The kernel gives the plain path's log-probs and gradients on a small batch.

    Raises:
        NoKernel: it does not.
    """
    from tpobench.policies.native.transformer import NativeTransformer  # noqa: PLC0415 - which asks for the kernel

    V, H, K, B = 3, 4, 3, 40  # more rows than a tile holds
    noise = Noise("kernel", "", (0,))
    theta = TransformerPolicy.initial(noise, V, H).theta
    theta = theta + 0.05 * noise.normal("theta", 0, (theta.shape[1],))
    prompts, tokens = noise.integers("prompt", 0, V, (B, H)), noise.integers("token", 0, V, (B, K, H))
    weight = noise.normal("weight", 0, (B * K * H,))
    results: list[tuple[Tensor, ...]] = []
    for policy in (TransformerPolicy(theta.clone(), V, H), NativeTransformer(theta, V, H, kernel)):
        with torch.enable_grad():
            tree = policy.pack(policy.paths(prompts, tokens))
            logp = policy.log_prob_table(tree).gather(1, tree.index)
            gradient = torch.autograd.grad((logp * weight).sum(), policy.parameters)
        drawn = policy.walk(prompts, noise.uniform("action", 0, (B, K, H)))[1][..., 0, :]
        flat = torch.cat([g.flatten(1) for g in gradient], dim=1)
        with torch.no_grad():
            optimizer, before = policy.muon(0.1), policy.theta.clone()
            for _ in range(2):  # with one gradient for both: that of keys' biases is nothing but rounding
                optimizer.step(policy.theta, results[0][1] if results else flat)
        results.append((logp.detach(), flat, drawn, policy.theta - before))
    for name, plain, native in zip(("log-probs", "gradients", "samples", "steps"), *results, strict=True):
        distance = float((native - plain).norm() / plain.norm())
        if not distance < TOLERANCE:
            msg = f"what {kernel.origin} makes of the kernel computes other {name}: {distance:.1e} from the plain path"
            raise NoKernel(msg)
