"""Records made by hand: nothing is planned and nothing is trained."""

import dataclasses
import json

from tpobench.identity import spec_id
from tpobench.records.store import RunRecord, Store, write_packed

REPORTING = {
    "title": "tiny", "metric": "error", "direction": "min", "window": 1, "worst": 1.0, "log": False,
    "thresholds": [0.5], "persist": 1,
}  # fmt: skip
SUITE = {
    "name": "tiny", "version": 1, "title": "tiny", "seeds": 3, "algorithms": ["tpo"], "grid": {}, "hyper": {},
    "task": {"kind": "bandit", "arms": 5, "samples": 4}, "training": {"steps": 1, "epochs": 1},
}  # fmt: skip


def spec(seed=0, **changes):
    """The spec of one run."""
    base = {
        "suite": "tiny", "suite_version": 1, "cell": {}, "matching": "any",
        "task": {"kind": "bandit", "arms": 5, "samples": 4, "baseline": 0.5},
        "training": {"steps": 1, "epochs": 1, "optimizer": "normalized", "learning_rate": 0.1, "record_every": 1},
        "algorithm": "tpo", "algorithm_version": "1", "hyper": {"eta": 1.0}, "seed": seed, "seed_batch": 1,
        "threads": 1, "device": "cpu", "dtype": "float32", "schema": 1,
    }  # fmt: skip
    return {**base, **changes}


def record(seed=0, status="ok", error=0.5, *, changes=None, **fields):
    """The record of one run whose error goes from 0.75 to `error`."""
    described = spec(seed, **(changes or {}))
    curve = {"step": [0, 1], "interactions": [0, 4], "gradient_steps": [0, 1], "error": [0.75, error]}
    defaults = {"curve": curve if status in {"ok", "diverged"} else {}, "reporting": REPORTING}
    return RunRecord(spec_id(described), described, status, **{**defaults, **fields})


def write(folder, *records, suite=None):
    """A run directory; with `suite`, its meta.json too."""
    store = Store(folder)
    if suite is not None:
        store.open(suite)
    for each in records:
        store.write(each)
    return folder


def write_jsonl(path, *records):
    """A packed file."""
    write_packed(path, records)
    return path


def snapshot(folder):
    """Every file below a folder, with its bytes and the time of its last change."""
    return {p: (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns) for p in folder.rglob("*")}


def altered(record, **changes):
    """The line of a record with fields replaced by what a record may not hold."""
    return json.dumps({**record.as_dict(), **changes})


def relabel(record, **changes):
    """The same run with other fields."""
    return dataclasses.replace(record, **changes)


def command(monkeypatch, capsys, *words):
    """The command line in this process: exit code, standard output, standard error."""
    from tpobench import cli

    monkeypatch.setattr("sys.argv", ["tpobench", *map(str, words)])
    try:
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    else:
        code = 0
    return code, *capsys.readouterr()
