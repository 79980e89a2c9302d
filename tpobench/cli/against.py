"""`check --against REF`: the merge base trained here, from a work tree and by a process of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tpobench.errors import RunsFailed, UsageError


def trained_reference(ref: str, suites: Sequence[str], plugins: Sequence[str], root: Path) -> Path:
    """The results of the suites at the merge base of `ref` and HEAD, trained on this machine unless they are there.

    The reference's own sources and plug-ins are run, each from its place in the work tree; a package that this
    repository does not hold is the installed one.

    Raises:
        UsageError: no repository, no such commit, or a plug-in that lies outside.
        RunsFailed: the reference's own run ended with an error.
    """
    top = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel"))
    commit = _git(top, "merge-base", ref, "HEAD")
    files = [_within(top, Path(plugin)) for plugin in plugins]
    setting = "\0".join((commit, sys.version, *suites, *map(str, files), _torch()))
    place = root / f"against-{commit[:12]}-{hashlib.sha256(setting.encode()).hexdigest()[:8]}"
    with tempfile.TemporaryDirectory(prefix="tpobench-") as folder:
        tree = Path(folder) / "tree"
        _git(top, "worktree", "add", "--detach", str(tree), commit)
        try:
            _train(tree, suites, files, place.resolve())
        finally:
            _git(top, "worktree", "remove", "--force", str(tree))
    return place


def _train(tree: Path, suites: Sequence[str], files: Sequence[Path], place: Path) -> None:
    """Run every suite; what is there is not run again."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))}
    given = [word for file in files for word in ("--plugin", str(tree / file))]
    for suite in suites:
        words = [sys.executable, "-m", "tpobench", "run", "--suite", suite, "--out", str(place), *given]
        done = subprocess.run(words, cwd=tree, env=environment, stdout=subprocess.DEVNULL, check=False)  # noqa: S603
        if done.returncode:
            msg = f"--against: the reference's own run of {suite} ended with exit code {done.returncode}; see above"
            raise RunsFailed(msg)


def _within(top: Path, file: Path) -> Path:
    try:
        return file.resolve().relative_to(top.resolve())
    except ValueError as error:
        msg = f"--against: {file} lies outside the repository {top}, so the reference has none of its own"
        raise UsageError(msg) from error


def _torch() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - `--help` does not need it

    return version("torch")


def _git(folder: Path, *words: str) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - fixed words, and a commit that git checks
            ["git", "-C", str(folder), *words],  # noqa: S607 - whichever git the user has
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        msg = f"--against needs git: {error.strerror}"
        raise UsageError(msg) from error
    if answer.returncode:
        why = (answer.stderr.strip().splitlines() or ["failed"])[-1]
        msg = f"--against: git {words[0]}: {why}"
        raise UsageError(msg)
    return answer.stdout.strip()
