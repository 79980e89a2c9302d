"""Whose results `check` judges: where they lie, and whether they are of the code under test."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.cli.base import write_file
from tpobench.errors import UsageError
from tpobench.planning.plan import Plan
from tpobench.records.store import (
    PACKED,
    RunRecord,
    Store,
    is_run_folder,
    merge_copies,
    read_source,
    run_folders,
    sources,
)

if TYPE_CHECKING:
    from tpobench.check import Candidate
    from tpobench.check.code import Code

MARK = "code.json"  # in a folder that `check` filled: the code its results belong to


@dataclass
class Candidates:
    """The results under test: a run directory, a packed file, or a folder of several."""

    root: Path
    damaged: int = 0  # records that cannot be read, when they were first

    def known(self) -> dict[str, RunRecord]:
        """All records that are there."""
        read = [read_source(source) for source in sources(self.root)]
        self.damaged = self.damaged or sum(torn for _, torn in read)
        return merge_copies(record for records, _ in read for record in records.values())

    def store(self, plan: Plan) -> Store:
        """The folder that the runs of a plan go to."""
        return Store(self._folder(plan.suite.name))

    def settings(self, suite: str) -> Mapping[str, Any] | None:
        """Those of the folder that the runs of a suite go to, where it holds some."""
        return (Store(self._folder(suite)).meta() or {}).get("suite")

    def _folder(self, suite: str) -> Path:
        """Beside the runs of the suite that are there."""
        if self.root.suffix == PACKED:
            return self.root.with_suffix("")
        if is_run_folder(self.root):
            return self.root
        same = (f for f in run_folders(self.root) if ((Store(f).meta() or {}).get("suite") or {}).get("name") == suite)
        return next(same, self.root / suite)


def require_apart(baseline: Path, root: Path) -> None:
    """A baseline compared with itself is always unchanged."""

    def files(path: Path) -> set[Path]:
        return {p.resolve() for s in sources(path) for p in ([s, Store(s).packed] if s.is_dir() else [s])}

    same = files(baseline) & files(root)
    if same:
        msg = f"{root} holds the baseline itself ({min(same)}); name the folder of the code under test, or leave it out"
        raise UsageError(msg)


def forget(root: Path, *, no_run: bool) -> None:
    """Remove what an earlier check left; nobody else's results."""
    if no_run:
        msg = "--fresh trains again and --no-run trains nothing; choose one of them"
        raise UsageError(msg)
    if root.is_dir() and not (root / MARK).is_file():
        msg = f"--fresh removes only what `check` made, and {root} was not made by it; name another folder"
        raise UsageError(msg)
    if root.is_dir():
        shutil.rmtree(root)


def require_same_code(root: Path, code: Code, candidate: Candidate, *, adding: bool) -> None:
    """Refuse results of another state of the code, where they can be told; `adding` runs to them asks for certainty."""
    mark, facts = root / MARK, code.facts
    records = [r for arm in candidate.arms.values() for r in arm.values()]
    remedy = "judge them as they are with --no-run, or name a new folder"
    if mark.is_file():
        if _key(mark) != code.key:
            msg = f"{root} holds results of another state of the code; train them again with --fresh, {remedy}"
            raise UsageError(msg)
        return
    if adding and not records:
        write_file(mark, json.dumps(code.as_dict(), indent=1) + "\n")
    if adding and records and uncommitted(facts["git"]):
        msg = f"{root} holds results, and the code here is not committed, so they may be another's; {remedy}"
        raise UsageError(msg)
    for record in records:
        for name in ("tpobench", "git", "torch"):
            then, now = record.provenance.get(name), facts[name]
            if then != now:
                msg = f"{root} holds results made with {name} {then}, here is {now}; {remedy}"
                raise UsageError(msg)


def _key(mark: Path) -> object:
    """Which state of the code a mark names; a damaged one names none."""
    from tpobench.limits import load_json

    try:
        named = load_json(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return named.get("key") if isinstance(named, dict) else None


def uncommitted(commit: object) -> bool:
    """Whether a record was made by code that nobody can get again."""
    return str(commit).endswith("-dirty")
