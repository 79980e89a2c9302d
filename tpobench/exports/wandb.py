"""Offline runs of Weights & Biases, which `wandb sync` sends: nothing here reaches the network."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import wandb

from tpobench.exports.runs import TrackedRun, tracked_runs
from tpobench.records.results import Results

LARGEST_NAME = 128  # that the service takes, of a run and of a group


def run_files(results: Results) -> dict[str, bytes]:
    """One file per run, whose id is the record's: sent again it is the same run, not a second one."""
    with TemporaryDirectory() as folder, chdir(folder):  # where wandb looks for settings, and leaves logs
        for run in tracked_runs(results):
            _log(run, folder)
        wandb.teardown()  # which writes what its service still holds
        files = sorted(Path(folder).rglob("*.wandb"))
        return {f"offline-{path.stem}/{path.name}": path.read_bytes() for path in files}


def _log(run: TrackedRun, folder: str) -> None:
    """The curve, and the configuration without this machine's: the runs were not trained by this process."""
    suite, cell, _, _ = run.path.split("/")
    settings = wandb.Settings(
        host="tpobench", silent=True, console="off", save_code=False, disable_git=True, disable_code=True,
        x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
    )  # fmt: skip
    tracked = wandb.init(
        mode="offline", project=suite, group=cell[:LARGEST_NAME], name=run.path[-LARGEST_NAME:], id=run.record.id,
        config=run.config, dir=folder, settings=settings, reinit="return_previous",
    )  # fmt: skip
    for step, metrics in run.points():
        tracked.log(metrics, step=step)
    tracked.finish(exit_code=int(run.record.status != "ok"))
