"""Our stacked arrays of the transformer under the names, and in the shapes, of the authors' Flax parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tpobench.policies.transformer import HEAD, HEADS, LAYERS, MODEL


def flax_arrays(at: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of seed 0, by `Dense_0.kernel` and so on: what is copied into them stands in the policy."""
    x = {k: v.detach()[0] for k, v in at.items()}
    out = {"Embed_0.embedding": x["token"], "pos_emb": x["position"], "Dense_4.kernel": x["head"].T}
    out["Dense_4.bias"] = x["head_bias"]
    for i in range(LAYERS):
        out[f"Dense_{2 * i}.kernel"], out[f"Dense_{2 * i}.bias"] = x[f"up{i}"], x[f"up_bias{i}"]
        out[f"Dense_{2 * i + 1}.kernel"], out[f"Dense_{2 * i + 1}.bias"] = x[f"down{i}"].T, x[f"down_bias{i}"]
        qkv = x[f"qkv{i}"].view(MODEL, 3, HEADS, HEAD)
        for j, n in enumerate(("query", "key", "value")):
            out[f"SelfAttention_{i}.{n}.kernel"] = qkv[:, j]
            out[f"SelfAttention_{i}.{n}.bias"] = x[f"qkv_bias{i}"][j]
        out[f"SelfAttention_{i}.out.kernel"] = x[f"out{i}"].view(HEADS, HEAD, MODEL)
        out[f"SelfAttention_{i}.out.bias"] = x[f"out_bias{i}"]
    for n in range(2 * LAYERS + 1):
        out[f"LayerNorm_{n}.scale"], out[f"LayerNorm_{n}.bias"] = x[f"norm_scale{n}"], x[f"norm_bias{n}"]
    return out
