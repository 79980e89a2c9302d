"""Somebody's function: where it is, what it is handed, and its loss and gradient."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import torch
from torch import Tensor

from tpobench.algorithms.promises import line_of
from tpobench.conformance.inputs import INPUTS, NUMBERS, Batch, matched
from tpobench.errors import RunsFailed, UsageError, unknown

IDS = ("array", "tensor", "list")  # verl looks ids up in a dictionary, where a tensor's elements never equal
MASKS = (torch.float64, torch.bool, torch.int64)
MOST_CONSTANTS = 24


@dataclass(frozen=True)
class Form:
    """How inputs are presented, which names do not tell."""

    by_token: bool = True  # advantages (N, T), or (N,)
    mask: torch.dtype = torch.float64
    ids: str = "array"

    def of(self, name: str, batch: Batch) -> Any:
        """An input as it is handed over."""
        if name in NUMBERS:
            return batch.numbers[name]
        x = batch.tensors[name]
        if name == "group_ids":
            return x.numpy() if self.ids == "array" else x if self.ids == "tensor" else x.tolist()
        if name == "advantages" and not self.by_token:
            return _of_answers(x)
        return x.to(x.dtype if name != "mask" or self.mask == torch.float64 else self.mask).clone()


def _of_answers(advantages: Tensor) -> Tensor:
    """The one advantage of each answer; 0 on padding, so the one of largest size."""
    return advantages.gather(-1, advantages.abs().argmax(-1, keepdim=True)).squeeze(-1)


@dataclass(frozen=True)
class Answer:
    """A loss, its gradient (N, T) by the log-probs, and the precision it was computed in; or why there is none."""

    loss: float
    gradient: Tensor
    dtype: torch.dtype = torch.float64
    error: str = ""

    @property
    def finite(self) -> bool:
        """Whether there are numbers to compare."""
        return not self.error and bool(self.gradient.isfinite().all())


@dataclass(frozen=True)
class Function:
    """A loss or an advantage function, asked by the names of its parameters.

    One that takes no log-probs gives advantages (N,) or (N, T), and stands for the loss -sum_t A log pi, mean over N.
    """

    name: str
    function: Callable[..., Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    advantage: Function | None = None  # what makes the advantages, where they are not ours
    form: Form = Form()

    def __post_init__(self) -> None:
        missing = [p.name for p in self.parameters.values()
                   if p.default is p.empty and p.name not in {*self.inputs, *self.given}]  # fmt: skip
        if missing:
            msg = f"{self.name}: parameter {_listed(missing)} is no input that is known by name; " + REMEDY
            raise UsageError(msg)
        if not self.inputs:
            msg = f"{self.name} takes none of the inputs of a loss; {REMEDY}"
            raise UsageError(msg)

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Its parameters by name, `*args` and `**kwargs` left out."""
        try:
            signature = inspect.signature(getattr(self.function, "forward", self.function))
        except (TypeError, ValueError) as error:
            msg = f"{self.name} does not tell its parameters: {error}; wrap it in a function that names them"
            raise UsageError(msg) from error
        variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        return {p.name: p for p in signature.parameters.values() if p.kind not in variadic}

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Parameter -> input."""
        return matched(self.parameters, self.given, self.name)

    @property
    def takes(self) -> frozenset[str]:
        """Its inputs; those of the advantage function where it is handed that function's answer."""
        inner = self.advantage.takes if self.advantage and "advantages" in self.inputs.values() else frozenset()
        return frozenset(self.inputs.values()) | inner

    @property
    def makes_advantages(self) -> bool:
        """Whether it is an advantage function."""
        return "log_probs" not in self.inputs.values()

    @property
    def handed_advantages(self) -> bool:
        """Whether the advantages are ours."""
        return "advantages" in self.inputs.values() and self.advantage is None

    @cached_property
    def constants(self) -> tuple[float, ...]:
        """The numbers that it names itself: in its signature, what it was given, and its text."""
        numbers = [*(p.default for p in self.parameters.values()), *self.given.values()]
        numbers += _constants(getattr(inspect.unwrap(self.function), "__code__", None))
        numbers += vars(self.function).values() if isinstance(self.function, torch.nn.Module) else ()
        inner = self.advantage.constants if self.advantage else ()
        constants = dict.fromkeys(float(x) for x in numbers if isinstance(x, int | float) and not isinstance(x, bool))
        return tuple(dict.fromkeys([*list(constants)[:MOST_CONSTANTS], *inner]))

    def ask(self, batch: Batch) -> Answer:
        """Its answer to a batch; one that it raises on has no numbers."""
        leaf = batch.tensors["log_probs"].detach().clone().requires_grad_()
        try:
            if self.advantage is not None:
                batch = batch.but(advantages=self.advantage.advantages(batch))
            loss = self._loss(batch, leaf)
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever somebody's function raises
            return Answer(torch.nan, torch.full_like(leaf, torch.nan), error=f"{line_of(error)}{_place(error)}")
        value = float(loss.detach())
        if not loss.requires_grad:  # a batch that says nothing, or a function that cut the graph
            return Answer(value, torch.zeros_like(leaf), loss.dtype)
        try:
            (gradient,) = torch.autograd.grad(loss, leaf, allow_unused=True)
        except RuntimeError as error:
            return Answer(value, torch.full_like(leaf, torch.nan), error=f"no gradient: {line_of(error)}")
        return Answer(value, torch.zeros_like(leaf) if gradient is None else gradient, loss.dtype)

    def advantages(self, batch: Batch) -> Tensor:
        """The advantages that an advantage function makes, (N, T), 0 on padding.

        Raises:
            UsageError: it gives no tensor of N answers.
        """
        result = _first(self._call(batch, batch.tensors["log_probs"]), self.name)
        N, T = batch.tensors["mask"].shape
        if result.shape not in {(N,), (N, 1), (N, T)}:
            msg = f"{self.name} gives shape {tuple(result.shape)} for {N} answers of {T} tokens; give (N,) or (N, T)"
            raise UsageError(msg)
        return result.detach().reshape(N, -1).expand(N, T) * batch.tensors["mask"]

    def _loss(self, batch: Batch, leaf: Tensor) -> Tensor:
        if self.makes_advantages:
            return -(self.advantages(batch) * leaf * batch.tensors["mask"]).sum(-1).mean()
        loss = _first(self._call(batch, leaf), self.name)
        if loss.numel() != 1:
            shape = tuple(loss.shape)
            msg = f"{self.name} gives shape {shape}; a loss is one number, so return the mean that is trained on"
            raise UsageError(msg)
        return loss.reshape(())

    def _call(self, batch: Batch, leaf: Tensor) -> Any:
        # the product with 1 lets a function work in place on what it is handed, as it may on a network's output
        words = {p: leaf * 1 if name == "log_probs" else self.form.of(name, batch) for p, name in self.inputs.items()}
        words |= self.given
        positional = [words.pop(p.name) for p in self.parameters.values() if p.kind is p.POSITIONAL_ONLY]
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as a deviation of one: its nan is told
            return self.function(*positional, **words)

    def presented(self, batch: Batch) -> Function:
        """The function with inputs in the first form that it does not raise on.

        Where advantages of answers and of tokens both pass, it is the form in which an answer's gradient depends on
        fewest other answers: (N,) times (N, T) is broadcast without a word.

        Raises:
            RunsFailed: it raises on every form, or its loss does not depend on the log-probs.
        """
        inner = None if self.advantage is None else self.advantage.presented(batch)
        errors = []
        for form in self._forms():
            shapes = (True, False) if self.handed_advantages else (True,)
            forms = [replace(self, advantage=inner, form=replace(form, by_token=by_token)) for by_token in shapes]
            answers = [f.ask(batch) for f in forms]
            if fitting := [f for f, answer in zip(forms, answers, strict=True) if not answer.error]:
                best = min(fitting, key=lambda f: f.reach(batch)) if len(fitting) > 1 else fitting[0]
                if not best.makes_advantages and not bool((best.ask(batch).gradient != 0).any()):
                    msg = f"{self.name}: its loss does not depend on the log-probs; is there a .detach() too many?"
                    raise RunsFailed(msg)
                return best
            errors += [answer.error for answer in answers]
        msg = f"{self.name} raises on {batch.name}: {errors[0]}"
        raise RunsFailed(msg)

    def _forms(self) -> Iterator[Form]:
        for mask, ids in itertools.product(MASKS, IDS if "group_ids" in self.inputs.values() else IDS[:1]):
            yield Form(mask=mask, ids=ids)

    def reach(self, batch: Batch) -> int:
        """How many answers' gradients change with the advantage of the first."""
        advantages = batch.tensors["advantages"].clone()
        advantages[0] *= 1.5
        change = self.ask(batch.but(advantages=advantages)).gradient - self.ask(batch).gradient
        return int((change != 0).any(-1).sum())


REMEDY = (
    f"known are {', '.join(INPUTS)} and the libraries' names for them (docs/conformance.md); "
    "give it a default, or a value with --with NAME=VALUE"
)


def _listed(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def _first(result: Any, name: str) -> Tensor:
    """The loss of (loss, metrics) or {"loss": loss}."""
    if isinstance(result, Mapping):
        result = result.get("loss")
    while isinstance(result, tuple | list) and result:
        result = result[0]
    if not isinstance(result, Tensor):
        msg = f"{name} gives {type(result).__name__}; return a tensor, or a tuple that begins with one"
        raise UsageError(msg)
    return result


def _constants(code: CodeType | None) -> Iterator[Any]:
    for constant in code.co_consts if code else ():
        if isinstance(constant, CodeType):
            yield from _constants(constant)
        else:
            yield from constant if isinstance(constant, tuple) else (constant,)


def _place(error: BaseException) -> str:
    """` (mine.py, line 12)`: the last line that is neither ours nor torch's."""
    ours = {str(Path(__file__).parent.parent), str(Path(torch.__file__).parent)}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not any(map(f.filename.startswith, ours))]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _make_importable(folder: Path) -> None:
    """For good: a function may import what it needs when it is called."""
    if (text := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, text)
    importlib.invalidate_caches()


def load_function(target: str, path: Path) -> Callable[..., Any]:
    """What `MODULE:FUNCTION` or `FILE.py:FUNCTION` names; an instance, where it is a class that needs no arguments.

    `path` is the folder whose modules can be imported; the file's own folder too.

    Raises:
        UsageError: there is no such module, or nothing to call in it.
    """
    place, colon, attribute = target.rpartition(":")
    if not colon or not place or not attribute:
        msg = f"'{target}' names no function; write MODULE:FUNCTION, such as mytrainer.py:loss or package.module:loss"
        raise UsageError(msg)
    module = _module_of(place, path)
    function: Any = module
    for name in attribute.split("."):
        if not hasattr(function, name):
            names = [n for n, x in vars(function).items() if callable(x) and not n.startswith("_")]
            raise unknown("function", attribute, names, place)
        function = getattr(function, name)
    if isinstance(function, type):
        function = _instance(function, target)
    if not callable(function):
        msg = f"{target} is {type(function).__name__}, which cannot be called; name a function"
        raise UsageError(msg)
    return function  # type: ignore[no-any-return]


def _instance(cls: type, target: str) -> Any:
    try:
        return cls()
    except Exception as error:
        msg = f"{target} is a class that cannot be made without arguments: {line_of(error)}; name a function of yours"
        raise UsageError(msg) from error


def _module_of(place: str, path: Path) -> ModuleType:
    if not path.is_dir():
        msg = f"--path {path}: no such folder"
        raise UsageError(msg)
    file = Path(place) if Path(place).is_absolute() else path / place
    is_file = place.endswith(".py") or "/" in place
    if is_file and not file.is_file():
        msg = f"no file {file}; write MODULE:FUNCTION, such as mytrainer.py:loss or package.module:loss"
        raise UsageError(msg)
    for folder in (path, file.parent) if is_file else (path,):
        _make_importable(folder)
    try:
        return _run_file(file) if is_file else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{place}.".startswith(f"{error.name}."):
            msg = f"no module '{error.name}'; --path DIR is where modules are looked for besides installed packages"
            raise UsageError(msg) from error
        msg = f"{place} cannot be imported: {line_of(error)}{_place(error)}"
        raise UsageError(msg) from error


def _run_file(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tpobench_conformance_{file.stem}", file)
    if spec is None or spec.loader is None:
        msg = f"{file} is no Python file; its name must end in .py"
        raise UsageError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
