"""`--kernel`: what computes an update, settled once, before anything is planned."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from tpobench.cli.base import say
from tpobench.errors import UsageError, unknown
from tpobench.planning.plan import NATIVE_KERNEL, PLAIN_KERNEL, why_not_native
from tpobench.suites.load import Suite

KERNELS = ("auto", "plain", "native", "static")
KernelOption = Annotated[
    str,
    typer.Option(
        "--kernel",
        help="plain (torch), native (the transformer in compiled C), static (never waits for a device), "
        "auto (static on CUDA, else native if it works).",
    ),
]


def settled(kernel: str, suites: Iterable[Suite], device: str) -> str:
    """`plain`, `native` or `static` for the runs of some suites; says why `auto` is plain where native would do.

    Raises:
        UsageError: no such kernel, or native where it cannot be had.
    """
    from tpobench.planning.devices import parse_device
    from tpobench.policies.native.build import NoKernel
    from tpobench.tasks.settings import STATIC_KERNEL

    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    if kernel in {PLAIN_KERNEL, STATIC_KERNEL}:
        return kernel
    kind, _ = parse_device(device)
    if kernel == "auto" and kind != "cpu":
        return STATIC_KERNEL
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
