"""Plan -> records: who trains what, where, and what becomes of a run that breaks."""

from tpobench.execution.engine import Outcome, execute

__all__ = ["Outcome", "execute"]
