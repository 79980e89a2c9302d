"""`compare` and `power`: whether A is better than B, and what the seeds at hand can tell at all."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import JsonOption, PathArgument, answer, app, one_per_line, split, table
from tpobench.errors import NothingToDo, UsageError

if TYPE_CHECKING:
    from tpobench.comparison import Compared
    from tpobench.comparison.judge import Row
    from tpobench.records.results import Results
    from tpobench.scores.suite_level import SuiteTest

MetricOption = Annotated[str, typer.Option("--metric", "-m", help="final, area, steps, rate; a wrong name lists all.")]
RulesOption = Annotated[list[str] | None, typer.Option("--algos", "-a", help="Only these rules; repeat or use commas.")]


@app.command()
def compare(
    *,
    a: Annotated[str, typer.Argument(metavar="A", help="A result set (folder or packed file); with --in, a rule.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What A is compared with: a result set, or a rule.")],
    within: Annotated[Path | None, typer.Option("--in", help="The result set that holds the rules A and B.")] = None,
    metric: MetricOption = "final",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Of steps and rate; default: the suite's last one.")
    ] = None,
    algos: RulesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two result sets, or two rules of one: differences, tests, Holm over all of them."""
    from tpobench.comparison import compare_rules, compare_sets
    from tpobench.records.results import load_results

    rules = split(algos)
    if within is not None:
        if rules:
            msg = f"--algos {','.join(rules)} goes with two result sets; with --in, A and B are the rules"
            raise UsageError(msg)
        found = compare_rules(load_results(within), a, b, metric=metric, threshold=threshold)
    else:
        found = compare_sets(
            _loaded(a, b), _loaded(b, a), names=(a, b), metric=metric, threshold=threshold, rules=rules
        )
    found = found.under(_plans([Path(a), Path(b)] if within is None else [within]))
    if as_json:
        answer(json.dumps(found.as_dict(), allow_nan=False))
        return
    answer(one_per_line(comparison_lines(found)))


def _loaded(path: str, other: str) -> Results:
    from tpobench.records.results import load_results
    from tpobench.records.store import Store

    if not Path(path).exists() and not Store(Path(path)).packed.is_file():
        msg = f"no results at {path}; to compare two rules of one result set: tpobench compare {path} {other} --in PATH"
        if "/" in path or path.endswith(".jsonl"):
            msg = f"no results at {path}; name a run directory, a folder of several, or a packed .jsonl"
        raise NothingToDo(msg)
    return load_results(path)


def _plans(paths: Sequence[Path]) -> list[str]:
    """`adaptive:5x4` of every result set whose seeds were planned so."""
    from tpobench.records.store import read_plan, sources

    found = [read_plan(source) for path in paths for source in sources(path)]
    return list(dict.fromkeys(str(plan["seeds"]) for plan in found if plan is not None))


def comparison_lines(found: Compared) -> list[str]:
    """A header, one row per cell (and rule), a line per suite, the notes, and the signature."""
    lines = [f"A = {found.a}", f"B = {found.b}", f"{found.measure.name}: {found.measure.words}"]
    if found.settings:
        lines.append(f"A -> B: {'; '.join(found.settings)}")
    lines += ["", *_rows(found).split("\n"), ""]
    lines += [_suite(name, test, found) for name, test in found.suites.items()]
    if not found.suites:
        lines.append("1 row: no suite-level test")
    return [*lines, _family(found), *found.notes, found.signature]


def _rows(found: Compared) -> str:
    unit = found.measure.unit
    header = [
        "cell", "rule", "seeds", f"A, {unit}", "B", "A − B [95%]", "P(A better) [95%]", "paired, variance", "test", "p",
        "Holm p", "least p", "A is",
    ]  # fmt: skip
    rows = [_texts(row, found) for row in found.rows]
    if not any(row.key.algorithm for row in found.rows):
        header, rows = [h for h in header if h != "rule"], [[*r[:1], *r[2:]] for r in rows]
    return table(header, rows)


def _texts(row: Row, found: Compared) -> list[str]:
    from tpobench.scores.text import difference_text, least_text, share_text
    from tpobench.stats.texts import p_text, seeds_text

    c, m = row.found, found.measure
    shown = m.difference(c)
    ends = shown.difference, shown.low, shown.high
    if m.kind == "rate":  # failures are compared, successes are what people read
        ends = tuple(None if v is None else -v + 0.0 for v in (c.difference, c.high, c.low))  # type: ignore[assignment]
    tested = c.status in {"tested", "identical"}
    pairs = c.runs[0] if c.test == "sign-flip" else None
    return [
        row.label, row.key.algorithm, seeds_text((len(row.a.seeds), len(row.b.seeds)), common=pairs),
        m.shown(row.a)[0], m.shown(row.b)[0], difference_text(*ends, m.scale),
        share_text(c.better, c.better_low, c.better_high), _pairing(row), c.test or "-",
        p_text(c.p) if tested else "", p_text(c.adjusted) if tested else "", least_text(c.smallest), row.verdict,
    ]  # fmt: skip


def _pairing(row: Row) -> str:
    """`r=.26, saved 24%` of the variance."""
    from tpobench.stats.texts import pairing_text

    text = pairing_text(row.found).replace("pairing ", "").replace(" of the variance", "")
    return text or ("yes" if row.pairing == "paired" else "no")


def _suite(name: str, row: SuiteTest, compared: Compared) -> str:
    from tpobench.scores.text import difference_text, least_text, share_text
    from tpobench.stats.texts import p_text

    c, rows = row.found, sum(r.key.suite == name for r in compared.rows)
    if c.difference is None:
        return f"{name}: {c.reason or 'no suite-level test'}"
    p = "" if c.p is None else f", p {p_text(c.p)} ({c.test}, least {least_text(c.smallest)})"
    holm = f", Holm over {row.family} suites {p_text(row.adjusted)}" if row.family > 1 else ""
    reason = f" ({c.reason})" if c.reason and c.p is not None else ""
    return (
        f"{name}: mean score over {rows} rows, A − B {difference_text(c.difference, c.low, c.high)}, P(A better) "
        f"{share_text(c.better, None, None)}{p}{holm}: A is {row.verdict()}{reason}; "
        f"score 0 at the worst value, 1 at {compared.measure.best:g}"
    )


def _family(found: Compared) -> str:
    from tpobench.scores.text import least_text
    from tpobench.stats.compare import plain

    least = [row.found.smallest for row in found.rows if row.found.smallest is not None]
    if not found.family or not least:
        return "family: no row has a test"
    ends = sorted({least_text(min(least)), least_text(max(least))}, reverse=True)
    level = plain(0.05 / found.family)
    return (
        f"family: {found.family} test{'s' if found.family > 1 else ''}, Holm at .05: the first needs p <= {level}; "
        f"smallest attainable p {' to '.join(ends)}"
    )


@app.command()
def power(
    *,
    path: PathArgument = Path("results"),
    target: Annotated[
        str | None,
        typer.Option("--target", "--mde", help="A difference to find the seeds for: 0.12, or 25% of each mean."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=2, help="Plan with so many; default: the seeds at hand.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", "-m", help="final, area; a wrong name lists all.")] = "final",
    algos: RulesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what differences the seeds at hand can detect, and how many seeds a given difference needs."""
    from tpobench.comparison.detection import detect, parse_target
    from tpobench.records.results import load_results

    goal = None if target is None else parse_target(target)
    found = detect(load_results(path), target=goal, seeds=seeds, metric=metric, rules=split(algos))
    if as_json:
        answer(json.dumps(found.as_dict(), allow_nan=False))
        return
    answer(one_per_line(found.lines()))


__all__: list[Any] = ["compare", "comparison_lines", "power"]
