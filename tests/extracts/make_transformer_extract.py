"""Extract the transformer replay of the reference implementation that the tests read.

usage: python tests/extracts/make_transformer_extract.py TRANSFORMER_REPLAY.npz

Of every gradient and updated array at most SAMPLES evenly spaced entries are kept, plus its norm; initial parameters,
batch, log-probs and losses are kept whole, in float64.
"""

import sys
from pathlib import Path

import numpy as np

SAMPLES = 64
MODELS = ("V2H5",)


def sampled(x: np.ndarray) -> np.ndarray:
    """Evenly spaced entries of a flattened array, then its Euclidean norm."""
    flat = x.ravel()
    index = np.unique(np.linspace(0, flat.size - 1, SAMPLES).astype(int))
    return np.append(flat[index], np.linalg.norm(flat))


def main() -> None:
    """Write transformer_replay.npz beside this script."""
    source = np.load(sys.argv[1])
    kept = {}
    for name in source.files:
        model, _, rest = name.partition("/")
        if model not in MODELS:
            continue
        heavy = "/grad0/" in name or "/params_after_" in name
        kept[name] = sampled(source[name]) if heavy else source[name]
        if rest in {"prompts", "actions", "tokens"}:
            kept[name] = source[name].astype(np.uint8)
    out = Path(__file__).with_name("transformer_replay.npz")
    np.savez_compressed(out, **kept)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {len(kept)} arrays")


if __name__ == "__main__":
    main()
