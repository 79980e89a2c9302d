"""Rows of numbers -> the tables of docs/calibration.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from documents import markdown, put_between

Row = Mapping[str, Any]
NOMINAL = 0.95
MARK = "<!-- {part}: made by benchmarks/calibration.py -->"
END = "<!-- end of {part} -->"


ANY, DIGITS, LEARNING = "any", "digits", "learning"  # rows of a whole check, of its exact stage, of its trained cells


def table(part: str, rows: Sequence[Row]) -> str:
    """The Markdown table of a part."""
    return {
        "coverage": coverage_table,
        "tests": test_table,
        "gate": gate_table,
        "bugs": bug_table,
        "unchanged": unchanged_table,
    }[part](rows)


def into_document(text: str, parts: Mapping[str, Sequence[Row]], *, name: Path | str) -> str:
    """A document with its tables replaced, each between its two markers; `name` is what an error calls it."""
    for part, rows in parts.items():
        text = put_between(text, MARK.format(part=part), END.format(part=part), table(part, rows), name=name)
    return text


def percent(value: float | None, se: float | None = None) -> str:
    """`94.6 ± 0.6`, `94.6` where it is exact."""
    if value is None:
        return "none"
    return f"{100 * value:.1f}" + (f" ± {100 * se:.1f}" if se else "")


def coverage_table(rows: Sequence[Row]) -> str:
    """One line per statistic and population, a column per n; bold: nominal lies more than 3 points above."""
    sizes = sorted({r["n"] for r in rows})
    groups: dict[tuple[str, str, str], dict[int, Row]] = {}
    for r in rows:
        kind = "studentized" if r["method"] == "studentized" else "default"
        groups.setdefault((r["statistic"], r["population"], kind), {})[r["n"]] = r
    order = list(dict.fromkeys(r["statistic"] for r in rows))
    lines = [
        [_statistic(key), _methods(by_n.values()), key[1], *(_covered(by_n.get(n)) for n in sizes)]
        for key, by_n in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][2]))
    ]
    return markdown(["statistic", "interval", "population", *(f"n = {n}" for n in sizes)], lines)


def _statistic(key: tuple[str, str, str]) -> str:
    return key[0] + (" (`--ci studentized`)" if key[2] == "studentized" else "")


def _methods(rows: Iterable[Row]) -> str:
    return "; ".join(dict.fromkeys(r["method"] for r in rows))


def _covered(r: Row | None) -> str:
    if r is None or r["covered"] is None:
        return "no interval"
    text = percent(r["covered"], r["se"])
    text = f"**{text}**" if r["covered"] < NOMINAL - 0.03 else text
    return text + (f" ({100 * r['none']:.0f}% none)" if r["none"] >= 0.005 else "")


def test_table(rows: Sequence[Row]) -> str:
    """One line per test and setting, a column per n; bold: more than 2 points above .05."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        groups.setdefault((r["test"], r["setting"]), []).append(r)

    def rate(r: Row) -> str:
        text = percent(r["rate"], r["se"])
        return f"n = {r['n']}: " + (f"**{text}**" if r["rate"] > 0.07 else text)

    order = list(dict.fromkeys(test for test, _ in groups))
    lines = [
        [test, setting, "; ".join(rate(r) for r in group), str(group[0]["repeats"] or "exact")]
        for (test, setting), group in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    ]
    return markdown(["test", "nothing differs", "wrong, %", "repeats"], lines)


def gate_table(rows: Sequence[Row]) -> str:
    """A line per rule and seeds: false alarms of a whole check, and detection of one changed cell."""
    columns = list(dict.fromkeys((r["shift"], r["margin"], r["others"]) for r in rows))
    groups: dict[tuple[str, str], dict[tuple[float, str, str], Row]] = {}
    for r in rows:
        groups.setdefault((r["n"], r["rule"]), {})[r["shift"], r["margin"], r["others"]] = r
    head = ["seeds", "rule", *(_scenario(*c) for c in columns)]
    lines = [
        [n, rule, *(percent(rates[c]["rate"], rates[c]["se"]) if c in rates else "" for c in columns)]
        for (n, rule), rates in groups.items()
    ]
    return markdown(head, lines)


def _scenario(shift: float, margin: str, others: str) -> str:
    what = "any alarm, nothing changed" if shift == 0 else f"+{shift:g} sd in one cell seen"
    beside = ", other cells bitwise equal" if others == "unchanged" else ""
    return f"{what}{beside} ({'no' if margin == 'none' else margin} margin)"


def bug_table(rows: Sequence[Row]) -> str:
    """A line per bug: what names it, how often training does, where most clearly, how large the effect is there."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for r in rows:
        groups.setdefault((r["bug"], r["rule"], r["what"]), []).append(r)
    lines = []
    for (bug, algorithm, what), group in groups.items():
        wholes = {r["cell"]: r for r in group if r["cell"] in {ANY, DIGITS, LEARNING}}
        exact = [r for r in group if r["cell"].endswith(f" {DIGITS}")]
        trained = [r for r in group if r["cell"] not in wholes and r not in exact]
        cells = sorted(trained, key=lambda r: (-r["detected"], -(r["effect"] or 0.0)))
        changed = sum(r["detected"] > 0 for r in exact)
        learning = wholes[LEARNING]
        shares = [percent(wholes[ANY]["detected"]), f"{changed} of {len(exact)}"]
        shares += [percent(learning["detected"]), percent(learning["improved"])]
        lines.append([bug, f"{algorithm}: {what}", *shares, _clearest(cells[0]), _better(cells)])
    head = ["bug", "algorithm", "red, %", "CHANGED digits", "REGRESSED, %", "IMPROVED only, %", "clearest measure"]
    return markdown([*head, "measures that improve"], lines)


def unchanged_table(rows: Sequence[Row]) -> str:
    """What becomes of a cell that nothing has changed, on other seeds."""
    statuses = [s for s in ("unchanged", "ok", "inconclusive", "improved", "regressed") if any(r.get(s) for r in rows)]
    head = ["cell and measure", *(f"{s.upper()}, %" for s in statuses), "any alarm, %"]
    red = [percent(r["red"]) if "red" in r else "" for r in rows]
    return markdown(
        head, [[r["cell"], *(percent(r.get(s, 0.0)) for s in statuses), x] for r, x in zip(rows, red, strict=True)]
    )


def _clearest(r: Row) -> str:
    if r["old"] is None:
        return f"{r['cell']}: no runs"
    size = "" if r["effect"] is None else f", {r['effect']:+.1f} sd"
    return f"{r['cell']}: {r['old']:.3g} to {r['new']:.3g}{size} ({100 * r['detected']:.0f}%)"


def _better(cells: Sequence[Row]) -> str:
    better = [r for r in cells if r["improved"] >= 0.5]
    return ", ".join(r["cell"] for r in better) or "none"
