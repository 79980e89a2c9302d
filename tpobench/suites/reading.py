"""Documents -> Suite: overrides and validation.  What is not understood is refused, with place, key and remedy."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from tpobench.errors import UsageError, unknown
from tpobench.identity import chosen
from tpobench.limits import NUMBER, field_types, load_toml, require_within
from tpobench.printable import brief
from tpobench.suites.model import (
    DIRECTIONS,
    HYPER,
    ID,
    MOST_BYTES,
    MOST_CELLS,
    TUNED,
    ReportSettings,
    Suite,
    Training,
    Value,
)
from tpobench.suites.search import Search, require_axis
from tpobench.tasks.catalog import TASKS, unknown_kind
from tpobench.tasks.settings import TaskSettings

Document = dict[str, Any]

KIND_NAMES = {
    int: "an integer", float: "a number", str: "a text", bool: "true or false", list: "a list",
    dict: "a table",
}  # fmt: skip
# Columns of the table of results, which an axis must not hide.
COLUMNS = {
    "suite", "suite_version", "matching", "algorithm", "seed", "status", "reason", "run_id", "step", "interactions",
    "gradient_steps",
}  # fmt: skip


# ---- overrides


def parse_value(text: str) -> Any:
    """A TOML value; a bare word is a text, commas make a list."""
    parts = [text] if text.strip().startswith(("[", '"', "'")) else text.split(",")
    values = [_parse_scalar(part.strip()) for part in parts]
    return values[0] if len(values) == 1 else values


def _parse_scalar(text: str) -> Any:
    try:
        parsed = load_toml(f"value = {text}")
    except ValueError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def set_key(document: Document, key: str, value: Any, where: str) -> None:
    """Set a dotted key in a raw document; `hyper.NAME`, and lists for task and training keys, become axes."""
    section, _, name = _full_key(document, key, where).partition(".")
    if not name:
        document[section] = [value] if section == "algorithms" and isinstance(value, str) else value
        return
    grid = document.setdefault("grid", {})
    if section == "hyper" and "." not in name:
        grid[key] = value if isinstance(value, list) else [value]
    elif section == "grid" or (section in {"task", "training"} and (isinstance(value, list) or name in grid)):
        grid[name] = value if isinstance(value, list) else [value]
    elif section in {"algorithm", "hyper", "cost"}:
        outer, _, inner = name.rpartition(".")
        document.setdefault(section.replace("hyper", "algorithm"), {}).setdefault(outer, {})[inner] = value
    elif name == "thresholds" and not isinstance(value, list):
        document.setdefault(section, {})[name] = [value]
    else:
        document.setdefault(section, {})[name] = value


def _full_key(document: Document, key: str, where: str) -> str:
    task, training = set(_task_types(document)), set(field_types(Training))
    report = {f"report.{n}" for n in field_types(ReportSettings)}
    keys = {"seeds", "algorithms", *(f"task.{n}" for n in task), *(f"training.{n}" for n in training), *report}
    keys |= {f"search.{n}" for n in field_types(Search)} if "search" in document else set()
    if key in keys or key in {f"grid.{n}" for n in task | training}:
        return key
    if re.fullmatch(r"(grid\.)?hyper\.[^.]+|(algorithm|hyper)\.[^.]+\.[^.]+|cost\.ms_per_step\.[^.]+", key):
        return key
    matches = sorted(k for k in keys if k.rpartition(".")[2] == key)
    if len(matches) == 1:
        return matches[0]
    near = _nearest(key, keys)
    valid = near[1] if near else keys | {"hyper.NAME", "algorithm.ALGORITHM.NAME"}
    raise unknown("key", near[0] if near else key, valid, where)


def _nearest(key: str, keys: set[str]) -> tuple[str, set[str]] | None:
    """A bare key is compared with the bare names, so that `stepz` finds `training.steps`."""
    if "." in key:
        return None
    bare = {k.rpartition(".")[2] for k in keys}
    return (key, bare) if difflib.get_close_matches(key, bare, n=1) else None


# ---- validation


def build_suite(name: str, document: Document, where: str) -> Suite:
    """Validate a raw document.

    Raises:
        UsageError: naming `where`, the key, and what would be valid.
    """
    document = _with_one_spelling(document, where)
    texts, scalars = tuple[str, ...], dict[str, Any](title=str, version=int, notes=str, seeds=int)
    scalars |= {"algorithms": texts, "deviations": texts}
    _known(document, [*scalars, *Suite.TABLES], "", where)
    for key in ("title", "algorithms", "task", "training"):
        if key not in document:
            msg = f"{where}: '{key}' is missing; add {'[' + key + ']' if key in Suite.TABLES else key + ' = ...'}"
            raise UsageError(msg)
    for key in Suite.TABLES:
        if not isinstance(document.get(key, {}), dict):
            msg = f"{where}: '{key}' must be a table, written [{key}]"
            raise UsageError(msg)
    plain = {k: _typed(document[k], t, k, where) for k, t in scalars.items() if k in document}
    for algorithm in plain["algorithms"]:
        check_algorithm(algorithm, "algorithms", where)
    types = _task_types(document, where)
    task_type = TASKS[document["task"]["kind"]]
    settings = _construct(task_type, {k: v for k, v in document["task"].items() if k != "kind"}, "task", where)
    training = _construct(Training, document["training"], "training", where)
    search = _search(document, types, where)
    report = _report(document.get("report", {}), task_type, where)
    _require_same_digits(report, training, document.get("grid", {}), where)
    suite = Suite(
        name=name,
        task={"kind": task_type.kind, **chosen(dataclasses.asdict(settings), settings)},
        training=training,
        grid=_grid(document.get("grid", {}), types | field_types(Training), where)
        | ({search.axis: search.ladder} if search else {}),
        search=search,
        algorithm=_of_algorithms(document.get("algorithm", {}), training, where),
        report=report,
        cost=_cost(document.get("cost", {}), where),
        quick=dict(document.get("quick", {})),
        smoke=dict(document.get("smoke", {})),
        **plain,
    )
    try:
        require_within(suite)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise UsageError(msg) from error
    sign, side = (-1, "above") if suite.report.better == "higher" else (1, "below")
    if search and sign * search.learned >= sign * suite.report.worst:  # which is what a diverged seed scores
        msg = f"{where}: search.learned must be {side} report.worst, which is {suite.report.worst:g}"
        raise UsageError(msg)
    for swept in suite.swept:
        _require_free(swept, [*types, *field_types(Training)], where)
    _require_set_once(suite, where)
    if (count := math.prod(map(len, suite.grid.values()))) > MOST_CELLS:
        msg = f"{where}: [grid]: {count:,} cells, at most {MOST_CELLS:,}; shorten an axis, or leave one out"
        raise UsageError(msg)
    try:
        cells = suite.at(search.ends if search else ()).cells  # each must be valid; between valid ends, every level is
    except ValueError as error:
        msg = f"{where}: [grid]: {error}"
        raise UsageError(msg) from error
    needed = max((cell.training.seed_batch * cell.task.bytes_per_seed for cell in cells), default=0)
    if needed > MOST_BYTES:
        msg = f"{where}: a job needs {needed / 2**40:.1f} TiB of memory, at most 1; lower training.seed_batch or [task]"
        raise UsageError(msg)
    for optimizer in (c.training.optimizer for c in cells if c.training.optimizer not in task_type.optimizers):
        msg = (
            f"{where}: training.optimizer={optimizer} needs matrices of a transformer; task kind {task_type.kind} "
            f"takes {', '.join(task_type.optimizers)}"
        )
        raise UsageError(msg)
    return suite


def _task_types(document: Document, where: str = "the suite") -> dict[str, Any]:
    task = document.get("task")
    kind = task.get("kind") if isinstance(task, dict) else None
    if not isinstance(kind, str):
        msg = f"{where}: 'task.kind' is missing or not a text; give one of: {', '.join(sorted(TASKS))}"
        raise UsageError(msg)
    if kind not in TASKS:
        raise unknown_kind(kind, where)
    return field_types(TASKS[kind])


def _known(table: Mapping[str, Any], valid: Iterable[str], prefix: str, where: str) -> None:
    valid = list(valid)
    for key in table:
        if key not in valid:
            raise unknown("key", prefix + key, [prefix + v for v in valid], where)


def _typed(value: Any, kind: Any, key: str, where: str) -> Any:
    """`value` if it is of the kind that the key takes; an integer is a number, true and false are neither."""
    if get_origin(kind) is tuple:
        return _typed_list(value, get_args(kind)[0], key, where)
    whole_number = kind is float and type(value) is int
    if type(value) is not kind and not whole_number:
        raise _wrong(value, KIND_NAMES[kind], key, where)
    if kind is float and not NUMBER.holds(value):  # nor is nan
        raise _wrong(value, f"{KIND_NAMES[kind]} of {NUMBER}", key, where)
    return float(value) if whole_number else value


def _typed_list(value: Any, kind: Any, key: str, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(value, "a list", key, where)
    return tuple(_typed(v, kind, key, where) for v in value)


def _wrong(value: Any, needed: str, key: str, where: str) -> UsageError:
    shown = str(value).lower() if isinstance(value, bool) else brief(repr(value))
    return UsageError(f"{where}: '{key}' is {shown}; it must be {needed}")


def _construct(cls: Any, table: Mapping[str, Any], prefix: str, where: str) -> Any:
    types = field_types(cls)
    _known(table, [*types, "kind"] if prefix == "task" else types, f"{prefix}.", where)
    for f in dataclasses.fields(cls):
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in table:
            msg = f"{where}: '{prefix}.{f.name}' is missing; give {KIND_NAMES.get(types[f.name], 'a value')}"
            raise UsageError(msg)
    try:
        return cls(**{k: _typed(v, types[k], f"{prefix}.{k}", where) for k, v in table.items()})
    except ValueError as error:
        msg = f"{where}: {prefix}.{error}"
        raise UsageError(msg) from error


def _report(table: Mapping[str, Any], task: type[TaskSettings], where: str) -> ReportSettings:
    """[report]; which way is better is the task's to say, where it does."""
    declared = better_of(task, str(table.get("metric", ReportSettings.metric)))
    if declared and table.get("better", declared) != declared:
        msg = f"{where}: 'report.better' is {brief(repr(table['better']))}, but {declared} is better of this metric"
        raise UsageError(msg)
    report: ReportSettings = _construct(
        ReportSettings, {"better": declared, **table} if declared else table, "report", where
    )
    return report


def _require_same_digits(report: ReportSettings, training: Training, grid: Mapping[str, Any], where: str) -> None:
    if report.exact and (training.dtype != "float64" or "dtype" in grid):
        msg = f"{where}: report.exact compares digits with other machines'; it needs training.dtype = float64"
        raise UsageError(msg)


def better_of(task: type[TaskSettings], metric: str) -> str:
    """`lower` or `higher`, empty where the settings of a task do not say."""
    declared = {m.name: m.better for m in (*task.metrics, *task.diagnostics)}
    better = declared.get(metric, "")
    return better if better in DIRECTIONS else ""


def _grid(table: Mapping[str, Any], types: Mapping[str, Any], where: str) -> dict[str, tuple[Value, ...]]:
    if isinstance(table.get("hyper"), dict):
        msg = f'{where}: [grid] has hyper as a table; write the key in quotes: "hyper.NAME" = [...]'
        raise UsageError(msg)
    _known(table, [*types, *(k for k in table if re.fullmatch(r"hyper\.[^.]+", k))], "grid.", where)
    grid: dict[str, tuple[Value, ...]] = {}
    for key, values in table.items():
        kind = types.get(key) or _kind_of(values, f"grid.{key}", where)
        grid[key] = _typed_list(values, kind, f"grid.{key}", where)
        if not grid[key] or len(set(grid[key])) < len(grid[key]):
            msg = f"{where}: 'grid.{key}' must list at least one value, each once"
            raise UsageError(msg)
    return grid


def _search(document: Document, types: Mapping[str, Any], where: str) -> Search | None:
    if "search" not in document:
        return None
    search: Search = _construct(Search, document["search"], "search", where)
    try:
        require_axis(search, types, document["task"], document.get("grid", {}))
    except ValueError as error:
        msg = f"{where}: search.{error}"
        raise UsageError(msg) from error
    return search


def _kind_of(values: Any, key: str, where: str) -> Any:
    """What the values of an axis of a hyperparameter are: all numbers, all texts, or all true or false."""
    kinds = {float if type(v) is int else type(v) for v in values} if isinstance(values, list) else {float}
    if len(kinds) > 1 or not kinds <= {float, bool, str}:
        msg = f"{where}: '{key}' must list numbers, or texts, or true and false"
        raise UsageError(msg)
    return kinds.pop() if kinds else float


def _require_free(name: str, settings: Iterable[str], where: str) -> None:
    """The axis of a hyperparameter is named like it, so nothing else may have the name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        msg = f"{where}: 'grid.hyper.{name}': a hyperparameter is named with a-z, 0-9 and _, such as hyper.eta"
        raise UsageError(msg)
    if name in settings:
        msg = f"{where}: 'grid.hyper.{name}': {name} is a setting of the task or the training; write grid.{name}"
        raise UsageError(msg)
    if name in COLUMNS:
        msg = f"{where}: 'grid.hyper.{name}': '{name}' is a column of every table of results, so no axis can have it"
        raise UsageError(msg)


def _require_set_once(suite: Suite, where: str) -> None:
    """What an axis sets for every algorithm, none has for itself."""
    for axis, (algorithm, values) in itertools.product(suite.grid, suite.algorithm.items()):
        if (key := axis.removeprefix(HYPER)) in values:
            msg = f"{where}: 'grid.{axis}' and 'algorithm.{algorithm}.{key}' set the same value; leave one of them out"
            raise UsageError(msg)


def _with_one_spelling(document: Document, where: str) -> Document:
    """[hyper.NAME], which [algorithm.NAME] was called before it had the learning rate too, under its name of today."""
    former = document.get("hyper")
    if not isinstance(former, dict) or not isinstance(document.get("algorithm", {}), dict):
        return document
    for algorithm in former.keys() & document.get("algorithm", {}).keys():
        msg = f"{where}: [hyper.{algorithm}] and [algorithm.{algorithm}] are one table; write it once, as the second"
        raise UsageError(msg)
    return {k: v for k, v in document.items() if k != "hyper"} | {"algorithm": document.get("algorithm", {}) | former}


def _of_algorithms(table: Mapping[str, Any], training: Training, where: str) -> dict[str, dict[str, Value]]:
    for algorithm, values in table.items():
        check_algorithm(algorithm, "algorithm", where)
        if not isinstance(values, dict):
            msg = f"{where}: 'algorithm.{algorithm}' must be a table of settings, written [algorithm.{algorithm}]"
            raise UsageError(msg)
    return {name: _of_algorithm(values, f"algorithm.{name}", training, where) for name, values in table.items()}


def _of_algorithm(table: Mapping[str, Any], prefix: str, training: Training, where: str) -> dict[str, Value]:
    """What an algorithm has in place of the training's settings, as those are checked, and its hyperparameters."""
    types, values = field_types(Training), {}
    for name, value in table.items():
        if name not in TUNED and type(value) not in {int, float, bool, str}:
            sweep = f" (to sweep it: hyper.{name} = [...], for every algorithm)" if isinstance(value, list) else ""
            raise _wrong(value, "a number, a text, or true or false" + sweep, f"{prefix}.{name}", where)
        kind = types[name] if name in TUNED else float if type(value) is int else type(value)
        typed = _typed(value, kind, f"{prefix}.{name}", where)
        values[name] = typed if name in TUNED else value
    try:
        dataclasses.replace(training, **{k: v for k, v in values.items() if k in TUNED})
    except ValueError as error:
        msg = f"{where}: {prefix}.{error}"
        raise UsageError(msg) from error
    return values


def _cost(table: Mapping[str, Any], where: str) -> dict[str, dict[str, float]]:
    _known(table, ["ms_per_step"], "cost.", where)
    times = table.get("ms_per_step", {})
    if not isinstance(times, dict):
        raise _wrong(times, "a table such as {default = 5.0}", "cost.ms_per_step", where)
    typed = {k: _typed(v, float, f"cost.ms_per_step.{k}", where) for k, v in times.items()}
    for algorithm in (algorithm for algorithm, ms in typed.items() if ms < 0):
        raise _wrong(typed[algorithm], "at least 0", f"cost.ms_per_step.{algorithm}", where)
    return {"ms_per_step": typed}


def check_algorithm(name: str, key: str, where: str) -> None:
    """The name of an algorithm, perhaps with modifiers: `tpo+icepop`.

    Raises:
        UsageError: it may not stand in a suite.
    """
    for part in name.split("+"):
        check_id(part, key, where)


def check_id(name: str, key: str, where: str) -> None:
    """A name that may stand in a suite, a list of words and the name of a file.

    Raises:
        UsageError: it may not.
    """
    if ID.fullmatch(name) is None:
        msg = f"{where}: '{key}' holds '{brief(name)}'; names are a-z, 0-9, _ and -, at most 64 characters"
        raise UsageError(msg)
