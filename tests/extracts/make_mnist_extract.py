"""Cut the reference's truth data down to what the tests of one-draw classification and of its mechanism read.

Usage: python tests/extracts/make_mnist_extract.py LOSSES_NPZ

Kept in mnist_cases.npz: every `classification_*` case (losses and gradients from logits, labels, actions and rewards)
and every `mechanism_*` case (first-order gains, concentrations, bins), in float64: all arrays end to end, and an index.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
KINDS = {"in": "inputs", "out": "outputs", "grad": "grads"}
DROPPED = {"q", "advantages"}  # intermediate results, which the loss depends on


def main(source: Path) -> None:
    """Write mnist_cases.npz."""
    data = np.load(source)
    flat: list[np.ndarray] = []
    cases, offset = [], 0
    for case in json.loads(str(data["manifest"]))["cases"]:
        if not case["func"].startswith(("classification_", "mechanism_")):
            continue
        places = {}
        for kind, names in KINDS.items():
            for name in case[names]:
                if name in DROPPED:
                    continue
                array = np.asarray(data[f"{case['id']}/{kind}/{name}"], dtype=np.float64)
                places[f"{kind}/{name}"] = [offset, list(array.shape)]
                flat.append(array.ravel())
                offset += array.size
        cases.append({"id": case["id"], "kwargs": case["kwargs"], "arrays": places})
    index = np.frombuffer(json.dumps(cases, separators=(",", ":")).encode(), dtype=np.uint8)
    out = HERE / "mnist_cases.npz"
    np.savez_compressed(out, data=np.concatenate(flat), index=index)
    print(len(cases), "cases,", out.stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
