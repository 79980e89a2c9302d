"""Pack the reference's own runs of two stochastic experiments, against which ours are tested as distributions.

Usage: python tests/extracts/make_agreement_extract.py REFERENCE_FOLDER

REFERENCE_FOLDER holds mnist.npz and rlvr_small.npz.  Every error is a share: of 10,000 test images, of 800 candidates,
or of 100 rollouts; it is kept as its numerator, and no value is rounded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
MNIST = {"ce": "ce", "pg": "reinforce", "dg": "dg", "tpo": "tpo", "grpo": "grpo_batch", "group_pg": "group_pg"}
# one seed at a time where there is such a run: more seeds, and the unmodified reference
TERMINAL = {"term_dg": "dg", "term_ppo": "ppo", "term_tpo_vmap1": "tpo", "term_grpo_vmap1": "grpo"}


def counts(errors: np.ndarray, of: int) -> np.ndarray:
    """Shares -> numerators, checked."""
    found = np.rint(errors.astype(np.float64) * of)
    assert np.abs(found / of - errors).max() < 1e-6
    return found.astype(np.uint16)


def main(folder: Path) -> None:
    """Write agreement.npz: mnist/RULE (20, 50) of 10,000 after mnist/step updates, terminal/RULE (6, steps)."""
    mnist, terminal = np.load(folder / "mnist.npz"), np.load(folder / "rlvr_small.npz")
    packed = {"mnist/step": mnist["updates_done"].astype(np.uint16)}
    packed |= {f"mnist/{ours}": counts(mnist[f"{theirs}_error"], 10_000) for theirs, ours in MNIST.items()}
    for theirs, ours in TERMINAL.items():
        packed[f"terminal_small/{ours}"] = counts(terminal[f"{theirs}_error"], 100 if ours in {"dg", "ppo"} else 800)
    np.savez_compressed(HERE / "agreement.npz", **packed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
