"""TOML -> Suite.  Strict: what is not understood is refused, with the file, the key and what would be valid.

Suite files are data: no code, no includes, no environment variables.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from tpobench.errors import UsageError, unknown
from tpobench.tasks.settings import SETTINGS

Value = str | int | float | bool
Document = dict[str, Any]

# Names of suites become folders, which some systems cannot have under the names of devices.
ID = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])$)[a-z0-9][a-z0-9_-]{0,63}")
MAX_BYTES = 1_000_000
OPTIMIZERS = ("muon", "adam", "normalized")
MATCHINGS = ("prompts", "interactions")
DTYPES = ("float32", "float64")
KIND_NAMES = {int: "an integer", float: "a number", str: "a text", bool: "true or false", list: "a list"}


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - an assertion with a message for the user
    if not condition:
        raise ValueError(message)


def _one_of(name: str, value: str, valid: Sequence[str]) -> None:
    near = difflib.get_close_matches(value, valid, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    _require(value in valid, f"{name} must be one of {', '.join(valid)}, not '{value}'{hint}")


@dataclass(frozen=True)
class Training:
    """How every rule of the suite is trained."""

    steps: int
    epochs: int
    optimizer: str
    learning_rate: float
    record_every: int = 1
    matching: str = "prompts"  # what rules are given equally: prompts, or interactions with the environment
    seed_batch: int = 1  # seeds trained side by side in one job
    threads: int = 1
    dtype: str = "float32"
    diagnostics: bool = False  # record what tells why a rule learns, beside how well

    def __post_init__(self) -> None:
        for name in ("steps", "epochs", "record_every", "seed_batch", "threads"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1")
        _require(0 < self.learning_rate < float("inf"), "learning_rate must be positive and finite")
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("matching", self.matching, MATCHINGS)
        _one_of("dtype", self.dtype, DTYPES)


@dataclass(frozen=True)
class Report:
    """How the runs are scored."""

    metric: str = "error"
    window: int = 50  # the final value is the mean over the last `window` recorded points
    thresholds: tuple[float, ...] = (0.1, 0.01)
    persist: int = 3  # recorded points a threshold must be held to count as reached
    solved: float = 0.05
    worst: float = 1.0  # the score of a diverged run

    def __post_init__(self) -> None:
        _require(ID.fullmatch(self.metric) is not None, "metric must be the name of a metric, such as 'error'")
        _require(self.window >= 1, "window must be at least 1")
        _require(self.persist >= 1, "persist must be at least 1")
        _require(len(self.thresholds) >= 1, "thresholds must hold at least one number")


@dataclass(frozen=True)
class Cell:
    """One point of the grid with everything it decides."""

    axes: Mapping[str, Value]  # the grid axes' values, without matching
    task: Any  # one of tpobench.tasks.settings
    training: Training


@dataclass(frozen=True)
class Suite:
    """A validated suite: a task, how it is trained and scored, and a grid over both."""

    TABLES: ClassVar[tuple[str, ...]] = ("task", "training", "grid", "hyper", "report", "cost", "smoke")

    name: str
    title: str
    task: Mapping[str, Value]  # kind and every field of its settings
    training: Training
    algorithms: tuple[str, ...]
    version: int = 1
    notes: str = ""
    seeds: int = 10
    grid: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    hyper: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    cost: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    smoke: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """Every combination of the grid's values, the first axis slowest."""
        return list(self._cells())

    def _cells(self) -> Iterator[Cell]:
        kind = str(self.task["kind"])
        for values in itertools.product(*self.grid.values()):
            chosen = dict(zip(self.grid, values, strict=True))
            task = {k: chosen.get(k, v) for k, v in self.task.items() if k != "kind"}
            training = {k: chosen.get(k, v) for k, v in dataclasses.asdict(self.training).items()}
            axes = {k: v for k, v in chosen.items() if k != "matching"}
            yield Cell(axes, SETTINGS[kind](**task), Training(**training))  # type: ignore[arg-type]

    @property
    def reporting(self) -> dict[str, Any]:
        """The copy of [report] that every record carries."""
        return _plain({"title": self.title, **dataclasses.asdict(self.report)})

    def as_dict(self) -> dict[str, Any]:
        """The resolved suite as plain values, as meta.json and `show suite` have it."""
        return _plain({k: v for k, v in dataclasses.asdict(self).items() if k != "smoke"})


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Tuples become lists, as in a JSON file."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def suites_folder() -> Path:
    """Where the packaged suites lie: inside the wheel, or beside the package in a checkout."""
    packaged = Path(__file__).parent / "suites"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "suites"


def suite_names() -> list[str]:
    """Names of the packaged suites."""
    return sorted(p.stem for p in suites_folder().glob("*.toml"))


def load_suite(name: str | Path, overrides: Iterable[str] = (), *, smoke: bool = False) -> Suite:
    """A packaged suite by name, or a suite file by path, with `KEY=VALUE` overrides.

    Raises:
        UsageError: no such suite, or a file, key or value that is not valid.
    """
    path = _locate(str(name))
    document = _read(path)
    suite = build_suite(path.stem, document, str(path))
    for key, value in suite.smoke.items():  # checked at every load, so that a broken [smoke] is seen at once
        set_key(document, key, value, f"{path} [smoke]")
    if suite.smoke:
        smoked = build_suite(path.stem, document, f"{path} [smoke]")
    if smoke:
        suite = smoked if suite.smoke else suite
    else:
        document = _read(path)
    for override in overrides:
        where = f"--set {override}"
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            msg = f"{where}: write KEY=VALUE, for example --set training.steps=100"
            raise UsageError(msg)
        set_key(document, key.strip(), parse_value(text), where)
        suite = build_suite(path.stem, document, where)
    return suite


def _locate(name: str) -> Path:
    if name.endswith(".toml") or "/" in name or "\\" in name:
        path = Path(name)
        if not path.is_file():
            msg = f"no suite file at {path}; give a .toml file, or one of: {', '.join(suite_names())}"
            raise UsageError(msg)
        if ID.fullmatch(path.stem) is None:
            use = "use a-z, 0-9, _ and -, at most 64 characters, not con or nul"
            msg = f"{path}: the file name is the suite's name; {use}"
            raise UsageError(msg)
        return path
    if name not in suite_names():
        raise unknown("suite", name, suite_names())
    return suites_folder() / f"{name}.toml"


def _read(path: Path) -> Document:
    try:
        if path.stat().st_size > MAX_BYTES:
            msg = f"{path}: larger than 1 MB; a suite file holds settings, not data"
            raise UsageError(msg)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"{path}: not readable as TOML: {error}"
        raise UsageError(msg) from error


# ---- overrides


def parse_value(text: str) -> Any:
    """A TOML value; a bare word is a text, commas make a list."""
    parts = [text] if text.strip().startswith(("[", '"', "'")) else text.split(",")
    values = [_parse_scalar(part.strip()) for part in parts]
    return values[0] if len(values) == 1 else values


def _parse_scalar(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def set_key(document: Document, key: str, value: Any, where: str) -> None:
    """Set a dotted key in a raw document; lists for task and training keys become axes of the grid."""
    section, _, name = _full_key(document, key, where).partition(".")
    if not name:
        document[section] = [value] if section == "algorithms" and isinstance(value, str) else value
        return
    grid = document.setdefault("grid", {})
    if section == "grid" or (section in {"task", "training"} and (isinstance(value, list) or name in grid)):
        grid[name] = value if isinstance(value, list) else [value]
    elif section in {"hyper", "cost"}:
        outer, _, inner = name.partition(".")
        document.setdefault(section, {}).setdefault(outer, {})[inner] = value
    elif name == "thresholds" and not isinstance(value, list):
        document.setdefault(section, {})[name] = [value]
    else:
        document.setdefault(section, {})[name] = value


def _full_key(document: Document, key: str, where: str) -> str:
    task, training = set(_task_types(document)), set(_types(Training))
    report = {f"report.{n}" for n in _types(Report)}
    own = {"seeds", "algorithms", *(f"task.{n}" for n in task), *(f"training.{n}" for n in training), *report}
    if key in own or key in {f"grid.{n}" for n in task | training}:
        return key
    if re.fullmatch(r"hyper\.[^.]+\.[^.]+|cost\.ms_per_step\.[^.]+", key):
        return key
    matches = sorted(k for k in own if k.rpartition(".")[2] == key)
    if len(matches) == 1:
        return matches[0]
    near = _nearest(key, own)
    raise unknown("key", key if not near else near[0], near[1] if near else own | {"hyper.RULE.NAME"}, where)


def _nearest(key: str, own: set[str]) -> tuple[str, set[str]] | None:
    """A bare key is compared with the bare names, so that `stepz` finds `training.steps`."""
    if "." in key:
        return None
    bare = {k.rpartition(".")[2] for k in own}
    return (key, bare) if difflib.get_close_matches(key, bare, n=1) else None


# ---- validation


def build_suite(name: str, document: Document, where: str) -> Suite:
    """Validate a raw document.

    Raises:
        UsageError: naming `where`, the key, and what would be valid.
    """
    scalars: dict[str, Any] = {"title": str, "version": int, "notes": str, "seeds": int, "algorithms": tuple[str, ...]}
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
    for key in ("seeds", "version"):
        if plain.get(key, 1) < 1:
            msg = f"{where}: {key} must be at least 1"
            raise UsageError(msg)
    for rule in plain["algorithms"]:
        _check_id(rule, "algorithms", where)
    types = _task_types(document, where)
    task_type = SETTINGS[document["task"]["kind"]]
    settings = _construct(task_type, {k: v for k, v in document["task"].items() if k != "kind"}, "task", where)
    training = _construct(Training, document["training"], "training", where)
    suite = Suite(
        name=name,
        task={"kind": task_type.kind, **dataclasses.asdict(settings)},
        training=training,
        grid=_grid(document.get("grid", {}), types | _types(Training), where),
        hyper=_hyper(document.get("hyper", {}), where),
        report=_construct(Report, document.get("report", {}), "report", where),
        cost=_cost(document.get("cost", {}), where),
        smoke=dict(document.get("smoke", {})),
        **plain,
    )
    try:
        suite.cells  # noqa: B018 - every cell must be valid, not only the base settings
    except ValueError as error:
        msg = f"{where}: [grid]: {error}"
        raise UsageError(msg) from error
    return suite


def _types(settings: type) -> dict[str, Any]:
    hints = get_type_hints(settings)
    return {f.name: hints[f.name] for f in dataclasses.fields(settings)}


def _task_types(document: Document, where: str = "the suite") -> dict[str, Any]:
    task = document.get("task")
    kind = task.get("kind") if isinstance(task, dict) else None
    if not isinstance(kind, str):
        msg = f"{where}: 'task.kind' is missing or not a text; give one of: {', '.join(sorted(SETTINGS))}"
        raise UsageError(msg)
    if kind not in SETTINGS:
        raise unknown("task.kind", kind, SETTINGS, where)
    return _types(SETTINGS[kind])


def _known(table: Mapping[str, Any], valid: Iterable[str], prefix: str, where: str) -> None:
    valid = list(valid)
    for key in table:
        if key not in valid:
            raise unknown("key", prefix + key, [prefix + v for v in valid], where)


def _typed(value: Any, kind: Any, key: str, where: str) -> Any:
    """`value` if it is of the kind that the key takes; an integer is a number, true and false are neither."""
    if get_origin(kind) is tuple:
        return _typed_list(value, get_args(kind)[0], key, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or value in (float("inf"), float("-inf")) or value != value:  # noqa: PLR0124 - nan
        raise _wrong(value, KIND_NAMES[kind], key, where)
    return value


def _typed_list(value: Any, kind: Any, key: str, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(value, "a list", key, where)
    return tuple(_typed(v, kind, key, where) for v in value)


def _wrong(value: Any, needed: str, key: str, where: str) -> UsageError:
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return UsageError(f"{where}: '{key}' is {shown}; it must be {needed}")


def _construct(cls: Any, table: Mapping[str, Any], prefix: str, where: str) -> Any:
    types = _types(cls)
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


def _grid(table: Mapping[str, Any], types: Mapping[str, Any], where: str) -> dict[str, tuple[Value, ...]]:
    _known(table, types, "grid.", where)
    grid: dict[str, tuple[Value, ...]] = {}
    for key, values in table.items():
        grid[key] = _typed_list(values, types[key], f"grid.{key}", where)
        if not grid[key] or len(set(grid[key])) < len(grid[key]):
            msg = f"{where}: 'grid.{key}' must list at least one value, each once"
            raise UsageError(msg)
    return grid


def _hyper(table: Mapping[str, Any], where: str) -> dict[str, dict[str, Value]]:
    for rule, values in table.items():
        _check_id(rule, "hyper", where)
        if not isinstance(values, dict):
            msg = f"{where}: 'hyper.{rule}' must be a table of hyperparameters, written [hyper.{rule}]"
            raise UsageError(msg)
        for name, value in values.items():
            if type(value) not in {int, float, bool, str}:
                raise _wrong(value, "a number, a text, or true or false", f"hyper.{rule}.{name}", where)
            if name == "epochs" and (type(value) is not int or value < 1):
                raise _wrong(value, "an integer of at least 1", f"hyper.{rule}.epochs", where)
    return {rule: dict(values) for rule, values in table.items()}


def _cost(table: Mapping[str, Any], where: str) -> dict[str, dict[str, float]]:
    _known(table, ["ms_per_step"], "cost.", where)
    times = table.get("ms_per_step", {})
    if not isinstance(times, dict):
        raise _wrong(times, "a table such as {default = 5.0}", "cost.ms_per_step", where)
    return {"ms_per_step": {k: _typed(v, float, f"cost.ms_per_step.{k}", where) for k, v in times.items()}}


def _check_id(name: str, key: str, where: str) -> None:
    if ID.fullmatch(name) is None:
        msg = f"{where}: '{key}' holds '{name}'; names are a-z, 0-9, _ and -, at most 64 characters"
        raise UsageError(msg)
