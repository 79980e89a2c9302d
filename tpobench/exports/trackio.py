"""Projects of trackio, one database for each suite.

A child writes them: trackio learns where its folder is when it is imported, and the user's own must not be touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tpobench.children import boot, child_command, last_line
from tpobench.errors import UsageError
from tpobench.exports.runs import TrackedRun, tracked_runs
from tpobench.records.results import Results


def project_files(results: Results) -> dict[str, bytes]:
    """What `TRACKIO_DIR=FOLDER trackio show` reads; the time of a step is so many seconds after 1970 began.

    Raises:
        UsageError: trackio does not take the runs.
    """
    with TemporaryDirectory() as folder:
        child = subprocess.run(  # noqa: S603 - this interpreter and fixed words
            child_command(boot(__name__)), input=json.dumps(list(map(_arguments, tracked_runs(results)))),
            env={**os.environ, "TRACKIO_DIR": folder}, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        if child.returncode:
            msg = f"trackio does not take the runs: {last_line(child.stderr, 'it says nothing')}"
            raise UsageError(msg)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.db"))}


def _arguments(run: TrackedRun) -> dict[str, object]:
    points = list(run.points()) or [(0, {})]
    return {
        "project": run.path.partition("/")[0], "run": run.path, "run_id": run.record.id, "config": run.config,
        "steps": [step for step, _ in points], "metrics_list": [metrics for _, metrics in points],
        "timestamps": [datetime.fromtimestamp(step, UTC).isoformat() for step, _ in points],
    }  # fmt: skip


def main() -> None:
    """The child: stores the runs on its standard input, and leaves nothing in the log of a database."""
    import sqlite3  # noqa: PLC0415 - of the child alone, as trackio

    from trackio.sqlite_storage import SQLiteStorage  # noqa: PLC0415 - see above

    projects = set()
    for arguments in json.load(sys.stdin):
        SQLiteStorage.bulk_log(**arguments)
        projects.add(arguments["project"])
    for project in projects:
        with sqlite3.connect(SQLiteStorage.get_project_db_path(project)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
