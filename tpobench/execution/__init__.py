"""Plan -> records: who trains what, where, and what becomes of a run that breaks.

engine         have a plan's missing runs trained, write every record at once
rounds         the one loop over the runs of a design
due            which jobs an invocation has to do, and what they may cost
work           in which order they are done
estimate       what a plan will cost
job            one job from message to records
checkpoints    the state of a long job on disk, and how it goes on from there
assemble       measurements -> one record per seed
isolate        a job in a child; a stack that breaks is trained on without the guilty seed
inline         executor: this process
local          executor: this machine
slots          child processes and their supervision
worker         the child process of a slot
cluster        executor: a Dask cluster
remote         its part inside a Dask worker
stop           signals
progress       how far a run is
heard          the same of a long job, in a file beside its claim
provenance     where and with what a run was made
machine        what this machine lends us
doctor         what would not work on it
classes        which algorithms are one and the same on a suite, by gradient
verify         train finished runs again and compare
"""

from tpobench.execution.due import Options
from tpobench.execution.engine import Outcome, execute
from tpobench.execution.inline import Inline
from tpobench.execution.local import Local
from tpobench.execution.stop import Stop

__all__ = ["Inline", "Local", "Options", "Outcome", "Stop", "execute"]
