"""Pack the published per-seed error curves of the TPO authors: terminal reward, H = 10, 20 seeds x 2000 episodes.

Usage: python tests/extracts/make_curve_extract.py TOKEN_REVERSAL_SPARSE_REWARD_RESULTS_NPZ

The file is assets/token_reversal_sparse_reward_results.npz of github.com/JeanKaddour/tpo at commit 73473b9. Every error
is a share of 800 candidates (dg: of 100), kept as its numerator; no value is rounded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
OF = 800


def main(source: Path) -> None:
    """Write published_curves.npz: tpo, grpo, dg as counts (20, 2000) of `of`."""
    data = np.load(source)
    counts = {name: np.rint(data[f"{name}_errors"].astype(np.float64) * OF) for name in ("tpo", "grpo", "dg")}
    for name, count in counts.items():
        assert np.abs(count / OF - data[f"{name}_errors"]).max() < 1e-7, name
    np.savez_compressed(HERE / "published_curves.npz", of=OF, **{k: v.astype(np.uint16) for k, v in counts.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
