"""Packages that are also the function of their name: `tpobench.audit(table)` beside `tpobench.audit.read_runs`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

HOME = "tpobench.api"  # of the functions; it imports the packages, so they cannot import it


class _Called(ModuleType):
    @property
    def _function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(importlib.import_module(HOME), self.__name__.rpartition(".")[2])
        return function

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._function(*args, **named)


def install(name: str) -> None:
    """From now on the module of that name can be called."""
    sys.modules[name].__class__ = _Called
