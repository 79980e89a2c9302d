"""A contract as code: promises, functions that look for breaches of them, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tpobench.algorithms.lazy import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Breach:
    """What was done wrong, in which part, and how to write it right."""

    where: str  # of an algorithm: credit | fit | keep; of a task: settings, or one of its methods
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}; {self.remedy}"


class Broken(Exception):
    """A part raised, or gave what is no answer."""

    def __init__(self, breach: Breach) -> None:
        super().__init__(str(breach))
        self.breach = breach


@dataclass(frozen=True)
class PromiseResult:
    """What became of one promise."""

    promise: str
    breaches: tuple[Breach, ...] = ()
    reached: bool = True  # whether it could be tried
    refuses: bool = True  # a broken promise; else a limit

    @property
    def state(self) -> str:
        """Kept, broken or limited, or not reached."""
        broken = "broken" if self.refuses else "limited"
        return "not reached" if not self.reached else broken if self.breaches else "kept"


@dataclass(frozen=True)
class Promise(Generic[T]):
    """One line of the contract, and the function that looks for breaches of it."""

    text: str
    breaches: Callable[[T], Iterable[Breach]] = field(repr=False)
    refuses: bool = True


def try_promises(subject: T, promises: Iterable[Promise[T]], first: Collection[Promise[T]]) -> list[PromiseResult]:
    """What becomes of every promise; where one of the `first` is broken, those after it cannot be tried."""
    findings = []
    reached = True
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for promise in promises:
            breaches = tuple(_breaches(promise, subject)) if reached else ()
            findings.append(PromiseResult(promise.text, breaches, reached, promise.refuses))
            reached = reached and not (promise in first and breaches)
    return findings


def _breaches(promise: Promise[T], subject: T) -> Iterator[Breach]:
    try:
        yield from promise.breaches(subject)
    except Broken as broken:
        yield broken.breach


def refusal(name: str, findings: Iterable[PromiseResult], what: str = "algorithm") -> list[str]:
    """Why an algorithm or a task is refused, a line for each breach; empty if it keeps its contract."""
    return [f"{what} '{name}': {breach}" for f in findings if f.refuses for breach in f.breaches]


def finding_of(raw: Mapping[str, Any]) -> PromiseResult:
    """A finding from its fields as plain values."""
    return PromiseResult(**{**raw, "breaches": tuple(Breach(**breach) for breach in raw["breaches"])})


def line_of(error: BaseException) -> str:
    """`ValueError: the first line of what it says`."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def name_of(dtype: torch.dtype) -> str:
    """`float32`."""
    return str(dtype).removeprefix("torch.")
