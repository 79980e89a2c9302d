"""`baseline update`: replace what `check` holds a change against, and log it."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import datetime as dt
import getpass
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import ForceOption, JsonOption, answer, app, say, say_copies, show, split
from tpobench.cli.help import Application
from tpobench.errors import CorruptResults, NothingToDo, StorageFull, UsageError, require_text
from tpobench.records.results import load_results
from tpobench.records.store import PACKED, RunRecord, require_ours, set_aside, write_atomically, write_packed
from tpobench.tables.model import Document, table_of

if TYPE_CHECKING:
    from tpobench.check import Baseline
    from tpobench.check.history import Drift

baseline_app = Application(
    help="""Replace what `check` holds a change against.

    $ tpobench baseline update ci.jsonl results/ci --reason "the clip is .2 now"
    """
)
app.add_typer(baseline_app, name="baseline")


@baseline_app.command("update")
def update(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The baseline: a .jsonl file.")],
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS", help="Results to make it of: run directories or packed files.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why it changes; kept in its log.")],
    suite: Annotated[list[str] | None, typer.Option("--suite", "-s", help="Take these suites only.")] = None,
    screen: Annotated[int | None, typer.Option("--screen", min=1, help="Seeds of the screen; default: half.")] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Replace a baseline by results, and log who did it, when and why.  How far every cell moves is logged too.

    $ tpobench baseline update ci.jsonl results/ci --reason "the clip is .2 now"
    """
    from tpobench.check.baseline import log_path, new_baseline
    from tpobench.check.history import drift, log_document, scales

    if not require_text(reason, "--reason").strip():
        msg = "--reason is empty; say why the baseline changes, in words that a reviewer can judge"
        raise UsageError(msg)
    if file.suffix != PACKED:
        msg = f"{file}: a baseline is a packed file; name it *{PACKED}"
        raise UsageError(msg)
    old, lost = _previous(file, force=force)
    names = split(suite)
    new = new_baseline(file, [r for r in _all_records(results) if not names or r.spec["suite"] in names], screen)
    changes = drift(old, new)
    same = old is not None and old.digest == new.digest and (old.screen, old.reserve) == (new.screen, new.reserve)
    if not same:
        date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        text = log_document(old, new, reason=reason.strip(), who=_who(), date=date)
        try:
            copies = [set_aside(path) for path in lost]
            write_packed(file, new.records)
            write_atomically(log_path(file), text)
        except OSError as error:
            msg = f"cannot write {file}: {error.strerror}"
            raise StorageFull(msg) from error
        say_copies(copies)
    _tell_update(file, new, changes, scales(old, new), same=same, as_json=as_json)


def _previous(file: Path, *, force: bool) -> tuple[Baseline | None, list[Path]]:
    """The baseline to be replaced, and the files of one that cannot be read: then its log is all that goes on.

    Raises:
        UsageError: the file is none of ours, or holds results and no baseline, and `force` does not let them go.
        CorruptResults: it, or its log, cannot be read, and `force` does not let them go.
    """
    from tpobench.check.baseline import Baseline, log_of, log_path, read_baseline

    if file.is_file():
        require_ours(file)
    present = [path for path in (file, log_path(file)) if path.is_file()]
    if not present:
        return None, []
    try:
        log, unreadable = log_of(file), False
    except CorruptResults:
        log, unreadable = (), True
    try:
        old = read_baseline(file)
        if log_path(file) in present:
            return old, []
        if not force:
            msg = (
                f"{file} holds results and has no log, so it is no baseline; name another file, or --force replaces it"
            )
            raise UsageError(msg)
        return old, present
    except (NothingToDo, CorruptResults) as error:
        lost = present if unreadable or isinstance(error, CorruptResults) else []
        if lost and not force:
            msg = f"{error}; or --force replaces it and keeps a copy"
            raise CorruptResults(msg) from error
        say(f"tpobench: the old baseline cannot be compared with: {error}")
    return Baseline(file, (), (), (), log), lost


def _all_records(paths: Sequence[Path]) -> list[RunRecord]:
    records: list[RunRecord] = []
    for path in paths:
        loaded = load_results(path)
        if loaded.quarantined:
            msg = f"{path}: {loaded.quarantined} damaged records; run the suite again before making a baseline of it"
            raise CorruptResults(msg)
        records += loaded.records
    return records


def _who() -> str:
    """The git user of this folder, else the login name."""
    answers = []
    for key in ("user.name", "user.email"):
        try:
            git = subprocess.run(  # noqa: S603 - fixed words
                ["git", "config", key],  # noqa: S607 - whichever git the user has
                capture_output=True, timeout=10, check=False, encoding="utf-8", errors="replace",
            )  # fmt: skip
        except OSError:
            break
        answers.append(git.stdout.strip())
    name, email = (*answers, "", "")[:2]
    if name:
        return f"{name} <{email}>" if email else name
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _tell_update(
    file: Path, new: Baseline, changes: Sequence[Drift], scale: Mapping[str, float], *, same: bool, as_json: bool
) -> None:
    from tpobench.scores.text import seed_ranges

    if as_json:
        rows = [{**dataclasses.asdict(d), "difference": d.difference} for d in changes]
        answer(json.dumps({"file": str(file), "written": not same, "digest": new.digest, "drift": rows}))
        return
    moved = [d for d in changes if d.difference != 0]
    if moved:
        header = ["cell", "first", "before", "now", "difference", ""]
        show(Document("Drift", (table_of(header, [_drift_row(d, scale[d.name]) for d in moved]),)), "terminal")
    dirty = any(str(r.provenance.get("git", "")).endswith("-dirty") for r in new.records)
    if dirty:
        say("tpobench: the results were made from uncommitted code: nobody can make this baseline again")
    seeds = f"screen {seed_ranges(new.screen)}, reserve {seed_ranges(new.reserve) or 'none: nothing can be confirmed'}"
    say(f"{len(changes) - len(moved)} of {len(changes)} cells unmoved; {seeds}")
    say(f"{file} is this baseline already, nothing written" if same else f"wrote {file} ({len(new.records)} runs)")


def _drift_row(drift: Drift, scale: float) -> list[str | None]:
    from tpobench.stats.texts import rounded, unit_of

    numbers = ((drift.first, ""), (drift.old, ""), (drift.new, ""), (drift.difference, "+"))
    short = [None if v is None else rounded(scale * v, 4, sign) for v, sign in numbers]
    what = "added" if drift.old is None else "removed" if drift.new is None else ""
    return [drift.name + unit_of(scale), *short, what]
