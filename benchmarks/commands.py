"""CPU seconds of the commands that people wait for, beside the seconds that they may take.

python benchmarks/commands.py [--repeats 3] [--folder DIR]

Each command is a process of its own, so its seconds hold the start of Python; the least of the repeats stands, as other
work on the machine only adds.  The 10,000 records are those of `benchmarks/scale.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from documents import markdown
from scale import VERBS, records_in, timed

RECORDS = 10_000
SPARSE = Path(__file__).resolve().parent.parent / "results" / "sparse.jsonl"
GOALS = {  # command, with the folder of 10,000 records at {at} -> CPU seconds
    VERBS["report"]: 5,
    "power {ten} --mde 0.05": 5,  # the first ten seeds: 450 records
    VERBS["status"]: 2,
    "list": 1,
    "plan --suite bandit": 1,
}


def main() -> None:
    """Print one table: a command a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each command, of which the least stands")
    parser.add_argument("--folder", type=Path, help="where the records are made, and kept")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        at, ten = records_in(given.folder or Path(scratch), RECORDS), Path(scratch) / SPARSE.name
        ten.write_text("".join(line for line in SPARSE.open() if json.loads(line)["spec"]["seed"] < 10))
        for command, goal in GOALS.items():
            seconds = min(timed(command.format(at=at, ten=ten).split()).cpu for _ in range(given.repeats))
            name = command.format(at=RECORDS, ten=ten.name).split(" --out")[0]
            rows.append([f"`{name}`", f"{seconds:.1f} s", f"{goal} s"])
    print(markdown(["command", "CPU", "goal"], rows))


if __name__ == "__main__":
    main()
