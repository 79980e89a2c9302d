"""The league: every algorithm on the same tasks with the same budget, as published and with its learning rate tuned.

league.toml  the packaged league
model        which suites, which learning rates, which seeds choose and which are scored
standings    records -> the rate that each algorithm chose, its scores, the range of rates it works in, the ranking
ranking      the same ranking of any results
documents    the tables, and the matrix of who beats whom
pictures     the matrix and the working ranges as figures
"""

from __future__ import annotations

from tpobench import called

called.install(__name__)
