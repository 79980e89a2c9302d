"""Numbers as a report prints them, beside the words of `stats.texts`."""

from __future__ import annotations

from collections.abc import Iterable

from tpobench.stats.estimate import Estimate
from tpobench.stats.texts import decimals, percent

KINDS = {
    "t": "t", "bca-expanded": "expanded BCa", "bca": "BCa", "studentized": "bootstrap-t",
    "percentile": "percentile bootstrap", "percentile-expanded": "percentile bootstrap, expanded", "wilson": "Wilson",
    "order-statistics": "order statistics", "values": "both values",
}  # fmt: skip


def interval_name(methods: Iterable[str]) -> str:
    """`95% interval (t)`, `one standard error`; empty where there is none."""
    names = sorted({m for m in methods if m != "none"})
    if names and all(m.startswith("se") for m in names):
        return "one standard error" + " (ddof 0)" * ("se-ddof0" in names)
    return f"95% interval ({', '.join(KINDS.get(m, m) for m in names)})" if names else ""


def difference_text(value: float | None, low: float | None, high: float | None, scale: float = 1.0) -> str:
    """`-24.1 [-35.0, -13.2]`: the sign always, the interval where there is one."""
    if value is None:
        return ""
    d = decimals(Estimate(value, low, high, 0, ""), scale)
    interval = "" if low is None or high is None else f" [{low * scale:.{d}f}, {high * scale:.{d}f}]"
    return f"{value * scale:+.{d}f}{interval}"


def share_text(value: float | None, low: float | None, high: float | None) -> str:
    """`90% [60%, 98%]`: a share of seeds, of pairs of them, or of a spread."""
    if value is None:
        return ""
    return percent(value) + ("" if low is None or high is None else f" {share_interval(low, high)}")


def share_interval(low: float, high: float) -> str:
    """`[60%, 98%]`."""
    return f"[{percent(low)}, {percent(high)}]"


def least_text(p: float | None) -> str:
    """The smallest attainable p: `.0079`, `1.1e-05`; blank where there is no test."""
    if p is None:
        return ""
    return f"{p:.2g}".removeprefix("0") if p >= 1e-4 else f"{p:.1e}"


def seed_ranges(seeds: Iterable[int]) -> str:
    """`0-9`, `0-4,7`."""
    parts: list[list[int]] = []
    for s in sorted(seeds):
        if parts and s == parts[-1][1] + 1:
            parts[-1][1] = s
        else:
            parts.append([s, s])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def rate_text(estimate: Estimate) -> str:
    """`[60%, 98%]`: Wilson's interval of the share beside its count."""
    return "" if estimate.low is None or estimate.high is None else share_interval(estimate.low, estimate.high)
