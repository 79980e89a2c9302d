"""The regression gate: has a change made any algorithm in any cell learn worse than a pinned baseline says?

    baseline records + candidate records -> evidence -> `stats.gate` -> judgement -> table, JUnit XML, Markdown, JSON

Reads only.  Running what is missing and writing the outputs is the command line's part.
"""

from tpobench.check.arms import ArmKey
from tpobench.check.baseline import Baseline, read_baseline
from tpobench.check.evidence import Candidate, GateCell, candidate_of, gate_cells
from tpobench.check.judgement import GateRow, Judgement
from tpobench.check.waivers import Waiver, read_waivers

__all__ = [
    "ArmKey",
    "Baseline",
    "Candidate",
    "GateCell",
    "GateRow",
    "Judgement",
    "Waiver",
    "candidate_of",
    "gate_cells",
    "read_baseline",
    "read_waivers",
]
