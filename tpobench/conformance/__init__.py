"""Somebody else's loss: is it the algorithm it is taken for, or which one is it, and is it safe to cut into pieces?

from tpobench.conformance import assert_conforms
assert_conforms(mytrainer.loss, "grpo_trl", clip_high=0.28)

cases         batches on which losses are compared
inputs        what a loss may be handed, and the names that libraries give it
calls         somebody's function, its loss and gradient
parts         the catalogue taken apart: credits, aggregations, fits
conventions   scales, penalties, weights and inputs in which two losses differ
identify      which parts a function computes
invariances   what every loss should keep
report        what was found, in words and numbers
document      the same as a document, JSON and JUnit XML
"""

from __future__ import annotations

from tpobench.conformance.report import Findings, assert_conforms, conformance

__all__ = ["Findings", "assert_conforms", "conformance"]
