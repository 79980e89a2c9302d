"""Image classification as a contextual bandit: one class is named for each image, and only that one is scored.

Every class is a candidate of one token, so a fit sees the whole row of log-probs; the weight is 1 on the class that was
drawn.  The baseline is sum_a pi_a^2, the expected reward of guessing by pi, and the score vector is A(a) e_a: 0 for
classes that were not drawn (TPO section 3.3 and appendix C).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from tpobench.data.images import Images, load_images
from tpobench.policies.bags import Bags, DenseImages, SparseImages, bright_pixels
from tpobench.policies.mlp import MLPPolicy, Pixels, Shape
from tpobench.policies.noise import Noise
from tpobench.tasks.catalog import MnistSettings
from tpobench.tasks.classification import classify, one_hot
from tpobench.tasks.mechanism import mechanism
from tpobench.tasks.settings import STATIC_KERNEL
from tpobench.tasks.task import Rollout, Step

BLOCK = 64
"""Steps whose random numbers are drawn at once: opening a stream takes longer than drawing a step from it."""


@dataclass
class Inputs:
    """The images of a rollout, the forward pass that drew from them, and the test log-probs where these were taken."""

    images: Pixels
    transposed: Pixels
    log_probs: Tensor  # (S, K, B) with graph, which serves one backward pass
    theta: Tensor  # that log_probs was taken from
    version: int  # of theta, when log_probs was taken
    used: int = 0
    test_log_probs: Tensor | None = None  # (S, K, M)


@dataclass(frozen=True)
class MnistTask:
    """B images a step, drawn with replacement from the training images, and one class drawn for each."""

    settings: MnistSettings
    noise: Noise
    kernel: str = "plain"
    _blocks: dict[int, tuple[Any, Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def make_policy(self) -> MLPPolicy:
        """The untrained network of every seed."""
        images = self._images
        return MLPPolicy.initial(self.noise, Shape(images.train.shape[1], self.settings.hidden, images.classes))

    def facts(self, policy: MLPPolicy) -> Mapping[str, Tensor]:
        """initial_success = mean pi(label) over the test images: chance that a draw of the untrained policy pays."""
        label = self._test_label.expand(len(policy.theta), 1, -1)
        return {"initial_success": self._test_log_probs(policy).gather(1, label).exp().mean((1, 2))}

    def rollout(self, policy: MLPPolicy, step: int) -> Rollout:
        """Draw B images and a class for each by inverting the policy's distribution function."""
        index, label, uniform = self._drawn(step)
        inputs = self.look(policy, index)
        return self.score(inputs, label, self.draw(inputs.log_probs, uniform))

    def look(self, policy: MLPPolicy, index: Any) -> Inputs:
        """What the policy makes of the training images `index` (S, B), a tensor where the kernel is static."""
        images, transposed = self._train.bags(index, policy.shape.rows)
        with torch.enable_grad():
            log_probs = policy.log_probs(images, transposed)
        return Inputs(images, transposed, log_probs, policy.theta, policy.theta._version)  # noqa: SLF001 - see logp

    @staticmethod
    def draw(log_pi: Tensor, uniform: Tensor) -> Tensor:
        """The first class whose cumulative probability exceeds u: (S, K, B), (S, B) -> (S, B)."""
        return (log_pi.detach().exp().cumsum(1)[:, :-1] <= uniform.unsqueeze(1)).sum(1)

    def score(self, inputs: Inputs, label: Tensor, action: Tensor) -> Rollout:
        """The rollout of given classes `action` (S, B)."""
        log_pi = inputs.log_probs.detach().mT
        groups = classify(log_pi, label, one_hot(action, log_pi))
        return Rollout(groups, inputs, interactions=self.settings.contexts)

    def logp(self, policy: MLPPolicy, rollout: Rollout, rows: Tensor | None) -> Tensor:
        """Log pi of every class, with graph: (S, B, K, 1).

        The forward pass that the classes were drawn from serves the first update, which finds theta as it was.
        """
        inputs: Inputs = rollout.inputs
        log_probs, drew = inputs.log_probs, inputs.theta is policy.theta
        inputs.used += drew
        if not drew or inputs.used > 1 or inputs.version != policy.theta._version:  # noqa: SLF001 - as autograd checks
            log_probs = policy.log_probs(inputs.images, inputs.transposed)
        chosen = log_probs if rows is None else log_probs.index_select(2, rows)
        return chosen.mT.unsqueeze(-1)

    def greedy_reward(self, policy: MLPPolicy, rollout: Rollout) -> Tensor:
        """1 where the most probable class is right: (S, B)."""
        del policy  # the forward pass that drew is its
        groups = rollout.groups
        best = groups.old_logp.squeeze(-1).argmax(-1)
        assert groups.label is not None  # noqa: S101 - for the type checker
        return torch.eq(best, groups.label).to(groups.reward.dtype)

    def evaluate(self, policy: MLPPolicy, rollout: Rollout) -> Mapping[str, Tensor]:
        """Error = share of all test images whose most probable class is wrong."""
        rollout.inputs.test_log_probs = self._test_log_probs(policy)
        wrong = rollout.inputs.test_log_probs.argmax(1) != self._test_label
        return {"error": wrong.to(self.noise.dtype).mean(1)}

    def diagnose(self, policy: MLPPolicy, step: Step) -> Mapping[str, Tensor]:
        """gradient_norm of the step's first gradient."""
        del policy
        return {"gradient_norm": step.gradient[0].square().sum(1).sqrt()}

    def examine(self, policy: MLPPolicy, step: Step) -> Mapping[str, Tensor]:
        """What Figure 4b of the TPO paper shows: gains on misclassified test images by wrong-class concentration."""
        log_probs = step.rollout.inputs.test_log_probs
        log_probs = self._test_log_probs(policy) if log_probs is None else log_probs
        return mechanism(step.algorithm, log_probs, self._test_label)

    @cached_property
    def _images(self) -> Images:
        return load_images(self.settings.data, self.settings.data_sha256)

    @cached_property
    def _train(self) -> SparseImages | DenseImages:
        if self.kernel == STATIC_KERNEL:
            pixels = torch.tensor(self._images.train, device=self.noise.device)
            return DenseImages(pixels, self._images.highest, self.noise.dtype)
        return self._sparse(_bright(self.settings.data, self.settings.data_sha256))

    @cached_property
    def _test(self) -> Bags:
        return self._sparse(bright_pixels(self._images.test, self._images.highest)).all()

    @cached_property
    def _train_label(self) -> Tensor:
        return torch.tensor(self._images.train_label, device=self.noise.device)

    @cached_property
    def _test_label(self) -> Tensor:
        return torch.tensor(self._images.test_label, device=self.noise.device)

    def _sparse(self, pixels: csr_matrix) -> SparseImages:
        return SparseImages(pixels, self._images.highest, self.noise.dtype, self.noise.device)

    def _drawn(self, step: int) -> tuple[Any, Tensor, Tensor]:
        """Training images, their labels, and the uniforms that draw a class: (S, B) each."""
        block, place = divmod(step, BLOCK)
        if block not in self._blocks:
            shape = (BLOCK, self.settings.contexts)
            index = self.noise.integers("image", block, len(self._images.train), shape)
            label, uniform = self._train_label[index], self.noise.uniform("action", block, shape)
            self._blocks.clear()
            self._blocks[block] = (index if self.kernel == STATIC_KERNEL else index.cpu().numpy()), label, uniform
        index, label, uniform = self._blocks[block]
        return index[:, place], label[:, place], uniform[:, place]

    def _test_log_probs(self, policy: MLPPolicy) -> Tensor:
        """Log pi of every class on every test image: (S, K, M)."""
        return policy.logits(self._test).log_softmax(1)


@lru_cache(maxsize=1)
def _bright(data: str, sha256: str) -> csr_matrix:
    """The training images, sorted out once per process."""
    images = load_images(data, sha256)
    return bright_pixels(images.train, images.highest)
