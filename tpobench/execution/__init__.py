"""Plan -> records: who trains what, where, and what becomes of a run that breaks."""

from tpobench.execution.due import Options
from tpobench.execution.engine import Outcome, execute
from tpobench.execution.inline import Inline
from tpobench.execution.local import Local
from tpobench.execution.stop import Stop

__all__ = ["Inline", "Local", "Options", "Outcome", "Stop", "execute"]
