"""Which data the runs of a plan read, and where it lies here: settled before the first run, in the process that plans.

Specs name an unverified copy by its fingerprint, so its runs have ids of their own.  The processes that train get the
paths that were found, and hash what they read again: equal specs train on equal bytes wherever they run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpobench.data.files import VARIABLE, Found, Missing, files_of, find, fingerprint, remedies, replacement
from tpobench.data.images import DATA, load_images
from tpobench.data.models import EXTRA, missing_packages
from tpobench.errors import DataUnavailable, unknown
from tpobench.planning.plan import Plan, RunSpec
from tpobench.printable import printable
from tpobench.suites.load import Suite
from tpobench.tasks.catalog import declared

BUNDLED = "digits"
ALLOW = "--allow-unverified-data: runs on this copy get ids of their own, and every report says so"
OTHERS = {"mnist": ("--data digits, which need no download",)}  # what would do instead of a data set
OTHER_SUITES = "other suites: sparse, bandit and tiny_math need no data"
Need = tuple[str, str]  # data set, and the fingerprint of the unverified copy that the spec names; empty: the published


@dataclass(frozen=True)
class Copy:
    """A data set on this machine."""

    paths: Mapping[str, str]  # file -> path
    sha256: str  # what specs call it: the fingerprint of an unverified copy, empty for the published bytes


def with_data(
    plans: Iterable[Plan], data_dir: Path | None = None, *, allow_unverified: bool = False, fixed: bool = False
) -> list[Plan]:
    """The plans with the paths of the data that their runs read; those without data as they are.

    allow_unverified: take a copy that is not the published data; specs name it in `task.data_sha256`.
    fixed: the runs are those of records, so no other copy, data set or suite would do.

    Raises:
        UsageError: no such data set.
        DataUnavailable: a file is missing, or is not what the specs say.
    """
    plans = list(plans)
    _require_packages(spec for plan in plans for spec in plan.specs)
    readers: dict[Need, dict[str, None]] = {}
    for plan in plans:
        for spec in plan.specs:
            for need in needs_of(spec.task).values():
                readers.setdefault(need, {})[spec.suite] = None
    copies = {
        need: locate(*need, list(names), data_dir, allow=allow_unverified, fixed=fixed)
        for need, names in readers.items()
    }
    return [_resolved(plan, copies) for plan in plans]


def _require_packages(specs: Iterable[RunSpec]) -> None:
    """What training needs beyond the base installation is here.

    Raises:
        DataUnavailable: it is not.
    """
    for suite, packages in dict.fromkeys((spec.suite, packages_of(spec.task)) for spec in specs):
        if missing := missing_packages(packages):
            msg = f"{suite} is trained with {', '.join(missing)}, not installed; {EXTRA}"
            raise DataUnavailable(msg)


def has_needs(plan: Plan) -> bool:
    """Whether any run of a plan reads data, or is trained with more than the base installation."""
    return any(needs_of(spec.task) or packages_of(spec.task) for spec in plan.specs)


def packages_of(task: Mapping[str, Any]) -> tuple[str, ...]:
    """What the runs of a task need beyond the base installation; nothing of a kind that is not known here."""
    settings = declared(task)
    return () if settings is None else settings.packages(task)


def needs_of(task: Mapping[str, Any]) -> dict[str, Need]:
    """What the runs of a task read, by the setting that names the copy; nothing of a kind that is not known here."""
    settings = declared(task)
    read = {} if settings is None else settings.reads(task)
    return {key: (data, str(task.get(key, ""))) for key, data in read.items()}


def locate(
    data: str,
    sha256: str = "",
    suites: Sequence[str] = (),
    data_dir: Path | None = None,
    *,
    allow: bool = False,
    fixed: bool = False,
) -> Copy:
    """The copy of a data set that runs may read here.

    sha256: the fingerprint of an unverified copy that the runs name.  allow: take any other, where they name none.
    fixed: as in `with_data`.

    Raises:
        UsageError: no such data set.
        DataUnavailable: saying which files, what was expected, where was searched, and what would work.
    """
    if data == BUNDLED:
        load_images(data, sha256)
        return Copy({}, sha256)
    if not (files := files_of(data)):
        raise unknown("data", data, DATA)
    lookups = [find(file.name, data_dir) for file in files]
    if missing := [f for f in lookups if isinstance(f, Missing)]:
        raise DataUnavailable(_missing(data, missing, suites, data_dir, fixed=fixed))
    copies = [f for f in lookups if isinstance(f, Found)]
    wrong = [copy for copy in copies if not copy.verified]
    mark = fingerprint({copy.data.name: copy.sha256 for copy in copies})
    paths = {copy.data.name: str(copy.path.absolute()) for copy in copies}
    if sha256 == mark:
        return Copy(paths, mark if wrong else "")
    if sha256:
        raise DataUnavailable(_other(data, sha256, mark, copies))
    if wrong and (not allow or any(not copy.sha256 for copy in wrong)):
        raise DataUnavailable(_unverified(data, wrong, data_dir, fixed=fixed))
    return Copy(paths, mark if wrong else "")


def paths_of(tasks: Iterable[Mapping[str, Any]], data_dir: Path | None = None) -> dict[str, str]:
    """File -> path of the data that recorded runs read; each record names its own copy, so no other will do.

    Raises:
        DataUnavailable: a file is missing, or is not what the records say.
    """
    needs = dict.fromkeys(need for task in tasks for need in needs_of(task).values())
    return {name: path for need in needs for name, path in locate(*need, data_dir=data_dir, fixed=True).paths.items()}


def _resolved(plan: Plan, copies: Mapping[Need, Copy]) -> Plan:
    needs = {need for spec in plan.specs for need in needs_of(spec.task).values()}
    if not needs:
        return plan
    if (at := plan.at) is not None:  # the runs of other levels read what those of the first do
        plan = dataclasses.replace(plan, at=lambda levels: _resolved(at(levels), copies))
    paths = {name: path for need in needs for name, path in copies[need].paths.items()}
    marks = {need: copies[need].sha256 for need in needs if copies[need].sha256 != need[1]}
    if not marks:
        return dataclasses.replace(plan, data=paths)
    return dataclasses.replace(
        plan,
        suite=_marked_suite(plan.suite, marks),
        specs=tuple(_marked(spec, marks) for spec in plan.specs),
        skipped=tuple(skip._replace(spec=_marked(skip.spec, marks)) for skip in plan.skipped),
        data=paths,
    )


def _marked(spec: RunSpec, marks: Mapping[Need, str]) -> RunSpec:
    copies = {key: marks[need] for key, need in needs_of(spec.task).items() if need in marks}
    return dataclasses.replace(spec, task={**spec.task, **copies}) if copies else spec


def _marked_suite(suite: Suite, marks: Mapping[Need, str]) -> Suite:
    """What meta.json says of the folder; where the data is an axis, only the specs can say it."""
    needs = needs_of(suite.task)
    copies = {key: marks[need] for key, need in needs.items() if need in marks}
    if not copies or suite.grid.keys() & {"data", *needs}:
        return suite
    return dataclasses.replace(suite, task={**suite.task, **copies})


def _missing(
    data: str, missing: Sequence[Missing], suites: Sequence[str], data_dir: Path | None, *, fixed: bool
) -> str:
    who = f", which {', '.join(suites)} reads," if suites else ""
    lines = [f"{data}{who} is not here: {len(missing)} of {len(files_of(data))} files are missing"]
    lines += [f"{m.data.name}: {m.data.size} bytes, sha256 {m.data.sha256}" for m in missing]
    lines += [f"searched: {', '.join(map(str, missing[0].searched))}"]
    lines += [f"remedy: {remedy}" for remedy in (*remedies(data, data_dir), *_others(data, fixed=fixed))]
    return "\n  ".join(map(printable, lines))


def _unverified(data: str, wrong: Sequence[Found], data_dir: Path | None, *, fixed: bool) -> str:
    lines = [f"{data} here is not the published data: {len(wrong)} of {len(files_of(data))} files differ"]
    lines += [f"{copy.path}: {copy.problem}" for copy in wrong]
    allow = () if fixed or any(not copy.sha256 for copy in wrong) else (ALLOW,)
    lines += [f"remedy: {r}" for r in (replacement(wrong[0], data_dir), *allow, *_others(data, fixed=fixed))]
    return "\n  ".join(map(printable, lines))


def _others(data: str, *, fixed: bool) -> tuple[str, ...]:
    return () if fixed else (*OTHERS.get(data, ()), OTHER_SUITES)


def _other(data: str, sha256: str, mark: str, copies: Sequence[Found]) -> str:
    folders = ", ".join(dict.fromkeys(str(copy.path.parent) for copy in copies))
    return (
        f"the runs read an unverified copy of {data} with fingerprint {sha256}, the one in {folders} has {mark}; "
        f"name the folder that has theirs with --data-dir or {VARIABLE}"
    )
