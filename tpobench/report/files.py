"""The files of a report in their folder: only what a report wrote is replaced, and what became stale goes.

<folder>/.tpobench-report.json    names and hashes of what reports wrote there, and what the last one was about
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tpobench.errors import StorageFull, UsageError
from tpobench.limits import parse_json
from tpobench.printable import first_of
from tpobench.records.store import require_folder, set_aside, write_atomically

MANIFEST = ".tpobench-report.json"
SCHEMA = 1


def write_files(out: Path, files: Mapping[str, bytes], about: str | None = None, *, force: bool = False) -> list[Path]:
    """Write files into a folder, made where it is missing; equal ones are left alone.

    Args:
        out: the folder.
        files: names below it (with slashes) and contents.
        about: what they are about, as a hash.  Of what was written there before, all goes that was about something
            else, and all of the kinds that are written now.  Without: they join what is there.
        force: replace files that no report wrote, too; copies of them stay.

    Raises:
        UsageError: the folder is a file, or a file there was not written by a report or was changed since.
        StorageFull: it cannot be written.
    """
    require_folder(out)
    written, last = _read_manifest(out)
    place = out
    try:
        now = {name: _hash((out / name).read_bytes()) for name in {*files, *written} if (out / name).is_file()}
        changed = {name: content for name, content in files.items() if now.get(name) != _hash(content)}
        others = [name for name in changed if name in now and now[name] not in written.get(name, ())]
        if others and not force:
            names = first_of([str(out / name) for name in others], 1)
            msg = (
                f"{names}: not written by a report, or changed since; name another folder with --out, "
                "or --force replaces what is there and keeps a copy"
            )
            raise UsageError(msg)
        kinds = {PurePosixPath(name).suffix for name in files}
        left = [name for name in written if name not in files]
        stale = [n for n in left if about is not None and (about != last or PurePosixPath(n).suffix in kinds)]
        hashes = {name: [_hash(content)] for name, content in files.items()}
        remaining = {name: known for name, known in written.items() if name in left and name not in stale}
        # both are ours until the last file is written, should this be the moment at which the power fails
        both = {name: [*written.get(name, ()), *hashes.get(name, ())] for name in {*written, *files}}
        _write_manifest(out, both, last)
        for name in others:
            set_aside(out / name)
        for name, content in changed.items():
            place = out / name
            write_atomically(place, content)
        for name in stale:
            if now.get(name) in written[name]:  # what was changed since is no longer ours
                (out / name).unlink()
        _write_manifest(out, {**remaining, **hashes}, about or last)
    except OSError as error:
        msg = f"cannot write {place}: {error.strerror or error}"
        raise StorageFull(msg) from error
    return [out / name for name in files]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_manifest(out: Path) -> tuple[dict[str, list[str]], str]:
    """The hashes of each file that reports wrote, and what the last one was about; nothing where that is damaged."""
    try:
        manifest: Any = parse_json((out / MANIFEST).read_text(encoding="utf-8"))
        names = {str(name): [str(h) for h in hashes] for name, hashes in manifest["files"].items()}
        about = str(manifest["about"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, ""
    below = {
        n: h for n, h in names.items() if not PurePosixPath(n).is_absolute() and ".." not in PurePosixPath(n).parts
    }
    return below, about


def _write_manifest(out: Path, files: Mapping[str, Sequence[str]], about: str) -> None:
    document = {"schema": SCHEMA, "about": about, "files": {name: sorted(set(files[name])) for name in sorted(files)}}
    text = json.dumps(document, indent=1) + "\n"
    path = out / MANIFEST
    if not path.is_file() or path.read_bytes() != text.encode():
        write_atomically(path, text)
