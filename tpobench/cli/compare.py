"""`compare` and `power`: whether A is better than B, and what the seeds at hand can tell at all."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tpobench.cli.base import GlanceFormat, PathArgument, app, show, split, spread
from tpobench.errors import NothingToDo, UsageError
from tpobench.records.results import Results, load_results
from tpobench.records.store import Store

MetricOption = Annotated[str, typer.Option("--metric", "-m", help="final, area, steps, rate; a wrong name lists all.")]
AlgorithmsOption = Annotated[
    list[str] | None, typer.Option("--algos", "-a", help="Only these algorithms; repeat or use commas.")
]


@app.command()
@spread
def compare(
    *,
    a: Annotated[str, typer.Argument(metavar="A", help="A result set (folder or packed file), or an algorithm.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What A is compared with: a result set, or an algorithm.")],
    within: Annotated[Path | None, typer.Option("--in", help="The result set of the algorithms A and B.")] = None,
    metric: MetricOption = "final",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Of steps and rate; default: the suite's last one.")
    ] = None,
    algos: AlgorithmsOption = None,
    format_: GlanceFormat,
) -> None:
    """Compare two result sets, or two algorithms of one.  Differences, intervals and tests, with Holm over all of them.

    $ tpobench compare tpo grpo --in results/sparse
    $ tpobench compare before/ after/
    """
    from tpobench.comparison import compare_algorithms, compare_sets

    algorithms = split(algos)
    if within is not None:
        if algorithms:
            msg = f"--algos {','.join(algorithms)} goes with two result sets; with --in, A and B are the algorithms"
            raise UsageError(msg)
        comparison = compare_algorithms(load_results(within), a, b, metric=metric, threshold=threshold)
    else:
        comparison = compare_sets(
            _loaded(a, b), _loaded(b, a), names=(a, b), metric=metric, threshold=threshold, algorithms=algorithms
        )
    show(comparison.document().told(within or a), format_.name, full=format_.full)


def _loaded(path: str, other: str) -> Results:
    if not Path(path).exists() and not Store(Path(path)).packed.is_file():
        command = f"tpobench compare {path} {other} --in PATH"
        msg = f"no results at {path}; to compare two algorithms of one result set: {command}"
        if "/" in path or path.endswith(".jsonl"):
            msg = f"no results at {path}; name a run directory, a folder of several, or a packed .jsonl"
        raise NothingToDo(msg)
    return load_results(path)


@app.command()
@spread
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
    algos: AlgorithmsOption = None,
    format_: GlanceFormat,
) -> None:
    """Say what differences the seeds at hand can detect.  With --target: how many seeds a given difference needs.

    $ tpobench power results/sparse --target 0.1
    """
    from tpobench.comparison.detection import detect, parse_target

    results, difference = load_results(path), None if target is None else parse_target(target)
    answer = detect(results, target=difference, seeds=seeds, metric=metric, algorithms=split(algos))
    show(answer.document().told(path), format_.name, full=format_.full)
