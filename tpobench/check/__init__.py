"""The regression gate: has a change made any algorithm in any cell learn worse than a pinned baseline says?

    baseline records + candidate records -> evidence -> `stats.gate` -> judgement -> table, JUnit XML, Markdown, JSON

Reads only.  Running what is missing and writing the outputs is the command line's part.

arms        one algorithm in one cell, and what makes two results of it comparable
baseline    the pinned records, and their log
history     the entries of that log, and how far cells have drifted
plans       what a check has to run
gate        the design of its runs: a screen of every arm, then reserve seeds
code        which code is under test
evidence    records -> evidence of the gate
judgement   verdicts of all cells -> one outcome
waivers     regressions that somebody accepts until a day
outputs     a judgement as a document, a step summary, JUnit XML and GitHub commands
"""

from tpobench.check.arms import ArmKey
from tpobench.check.baseline import Baseline, read_baseline
from tpobench.check.evidence import Candidate, GateCell, candidate_of, gate_cells
from tpobench.check.judgement import GateRow, Judgement
from tpobench.check.waivers import Waiver, read_waivers

__all__ = [
    "ArmKey", "Baseline", "Candidate", "GateCell", "GateRow", "Judgement", "Waiver", "candidate_of", "gate_cells",
    "read_baseline", "read_waivers",
]  # fmt: skip
