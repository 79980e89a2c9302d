"""`--kernel`: what computes the transformer, settled once, before anything is planned."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from tpobench.cli.base import say
from tpobench.errors import UsageError, unknown
from tpobench.planning.plan import NATIVE_KERNEL, PLAIN_KERNEL, why_not_native
from tpobench.suites.load import Suite

KERNELS = ("auto", "plain", "native")
KernelOption = Annotated[
    str,
    typer.Option("--kernel", help="Of the transformer: plain (torch), native (compiled C), auto (native if it works)."),
]


def settled(kernel: str, suites: Iterable[Suite], device: str) -> str:
    """`native` or `plain` for the runs of some suites; says why `auto` is plain where native would do.

    Raises:
        UsageError: no such kernel, or native where it cannot be had.
    """
    from tpobench.planning.devices import parse_device
    from tpobench.policies.native.build import NoKernel

    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    if kernel == PLAIN_KERNEL:
        return PLAIN_KERNEL
    kind, _ = parse_device(device)
    parts = [suite.at(suite.search.ends if suite.search else ()) for suite in suites]
    reasons = {why_not_native(cell, kind): part.name for part in parts for cell in part.cells}
    refused = {reason: name for reason, name in reasons.items() if reason}
    if kernel == NATIVE_KERNEL and refused:
        reason, name = next(iter(refused.items()))
        msg = f"suite '{name}': --kernel native: {reason}; --kernel auto takes it where it can be had"
        raise UsageError(msg)
    if len(refused) == len(reasons):
        return PLAIN_KERNEL
    from tpobench.policies.native.machine import native_kernel  # now that torch is needed

    try:
        native_kernel()
    except NoKernel as error:
        if kernel == NATIVE_KERNEL:
            msg = f"--kernel native: {error}; --kernel auto goes on without it"
            raise UsageError(msg) from error
        say(f"tpobench: --kernel auto takes the plain path: {error}")
        return PLAIN_KERNEL
    return NATIVE_KERNEL
