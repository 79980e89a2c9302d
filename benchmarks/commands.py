"""CPU seconds of the commands that people wait for, beside the seconds that they may take.

python benchmarks/commands.py [--repeats 3] [--folder DIR]

Each command is a process of its own, so its seconds hold the start of Python; the least of the repeats stands, as other
work on the machine only adds.  The 10,000 records are those of `benchmarks/scale.py`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from documents import markdown
from scale import VERBS, records_in, timed

RECORDS = 10_000
SPARSE = Path(__file__).resolve().parent.parent / "results" / "sparse.jsonl"  # 450 records
GOALS = {  # command, in which {at} is the folder of the records -> CPU seconds
    VERBS["report"]: 5,
    f"power {SPARSE} --mde 0.05": 5,
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
        at = records_in(given.folder or Path(scratch), RECORDS)
        for command, goal in GOALS.items():
            seconds = min(timed(command.format(at=at).split()).cpu for _ in range(given.repeats))
            name = command.format(at=RECORDS).split(" --out")[0].replace(str(SPARSE), SPARSE.name)
            rows.append([f"`{name}`", f"{seconds:.1f} s", f"{goal} s"])
    print(markdown(["command", "CPU", "goal"], rows))


if __name__ == "__main__":
    main()
