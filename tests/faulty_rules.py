"""A plugin of rules that break on purpose, each in its own way, at update 2 of seed 1; until then they are `clean`.

A rule is not told its seed.  These know how the policy of every seed of suite "faults" moves as long as nothing breaks,
and so recognise whose update it is, and which one.  `clean` never breaks; what it does to time and to the outside is
set by FAULT_* in the environment, so that its records are the same with and without.
"""

import ctypes
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path

import psutil
import torch

from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient

TASK = {"kind": "contexts", "contexts": 3, "arms": 4}
SEEDS = tuple(range(64))
GUILTY, STEP, UPDATES = 1, 2, 4
HOUR_S = 3600


@cache
def trajectories():
    """log pi of every context, arm and seed before each update of `clean`: (updates, seeds, contexts * arms)."""
    from tpobench.policies.optimizers import NormalizedStep
    from tpobench.training.loop import loss_gradient, make_task

    task = make_task("faults", TASK, SEEDS, dtype="float32", device="cpu")
    policy, clean = task.make_policy(), Algorithm("_", centred, policy_gradient, compares="candidates", paper="none")
    optimizer, moves = NormalizedStep(0.1), []
    for step in range(UPDATES):
        rollout = task.rollout(policy, step)
        moves.append(rollout.groups.old_logp.flatten(1))
        with torch.enable_grad():
            (gradient,) = loss_gradient(
                task, policy, clean, rollout, clean.credit_for(rollout.groups), at_snapshot=True
            )
        with torch.no_grad():
            optimizer.step(policy.theta.flatten(1), gradient.flatten(1))
    return torch.stack(moves)


def watch(groups):
    """Which seeds are trained, and the step they are at; none where the groups are those of a trial of the rule."""
    if groups.old_logp[0].numel() != TASK["contexts"] * TASK["arms"]:
        return [], -1
    distance, seed = (trajectories()[:, None] - groups.old_logp.flatten(1)[:, None]).abs().amax(-1).min(-1)
    step = int(distance.nan_to_num(0).sum(1).argmin())
    return seed[step].tolist(), step


def centred(groups):
    """The credit of every rule here: reward minus its mean."""
    return groups.reward - (groups.weight * groups.reward).sum(-1, keepdim=True)


def raises():
    """An ordinary mistake."""
    msg = "poison"
    raise ValueError(msg)


def raises_strangely():
    """A message of many megabytes, of which half is no text."""
    raise ValueError("poison \udcff" + "x" * 5_000_000)


class Mute(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError


def raises_mutely():
    """An error whose message raises."""
    raise Mute


def killed():
    """Somebody kills it."""
    os.write(2, b"famous last words\n")
    os.kill(os.getpid(), signal.SIGKILL)


def segfaults():
    """It reads address 0."""
    ctypes.string_at(0)


def leaves():
    """It ends as if all were well."""
    os._exit(0)


def says_exit():
    """What a script does that was meant for the command line."""
    sys.exit("enough")


def loops():
    """Endless, but Python can be interrupted."""
    while True:
        time.sleep(0.01)


def sticks():
    """Endless inside a C call that holds the interpreter's lock."""
    ctypes.PyDLL(None).sleep(HOUR_S)


def swells():
    """More memory than a job may have, and it keeps it."""
    os.write(2, b"growing\n")
    held = [b"\1" * 2**26 for _ in range(16)]
    time.sleep(HOUR_S)
    del held


def asks_for_too_much():
    """An allocation that is refused at once."""
    torch.empty(2**55)


def tells_threads():
    """It fails with the number of threads it was given: by torch, in the environment, and in that it started in."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    told = [environment[name] for environment in (os.environ, psutil.Process().environ()) for name in names]
    raise ValueError(str([torch.get_num_threads(), *map(int, told)]))


def chatters():
    """It prints what looks like the protocol, reads its input and closes both."""
    sys.stdout.write('{"done":[]}\n{"step":99}\ngarbage\n')
    sys.stdout.flush()
    os.write(1, b'{"done":[]}\n\xff\xfe\0\n')
    if sys.stdin.read():
        raises()
    os.close(0)
    os.close(1)


def closes_all():
    """It closes the files of others."""
    os.closerange(3, 256)
    time.sleep(HOUR_S)


def rants():
    """Twenty megabytes of log, and then a line that matters."""
    os.write(2, b"blah blah blah\n" * (20 * 2**20 // 15))
    time.sleep(0.5)  # long enough for the log to be cut
    os.write(2, "the line that matters: ünïcode\n".encode())
    raises()


def forks():
    """It dies while its own child holds every pipe open."""
    if os.fork() == 0:
        time.sleep(HOUR_S)
    os.kill(os.getpid(), signal.SIGKILL)


def leaves_a_child():
    """It ends well and leaves a child behind."""
    if os.fork() == 0:
        time.sleep(HOUR_S)


FAULTS = (raises, raises_strangely, raises_mutely, killed, segfaults, leaves, says_exit, loops, sticks, swells,
          asks_for_too_much, tells_threads, chatters, closes_all, rants, forks, leaves_a_child)  # fmt: skip


def breaking(fault):
    """`clean` with a fault."""

    def credit(groups):
        seeds, step = watch(groups)
        if GUILTY in seeds and step == STEP:
            fault()
        return centred(groups)

    return credit


def diverging(groups):
    """`clean`, but the guilty seed's credit is not a number; its neighbours in the stack do not notice."""
    seeds, step = watch(groups)
    credit = centred(groups)
    if step == STEP:
        credit[[i for i, seed in enumerate(seeds) if seed == GUILTY]] = torch.nan
    return credit


def slow_then_killed(groups):
    """`killed`, late enough for its step to be known."""
    seeds, step = watch(groups)
    if GUILTY in seeds and step == STEP - 1:
        time.sleep(0.6)
    if GUILTY in seeds and step == STEP:
        killed()
    return centred(groups)


def clean(groups):
    """FAULT_JOURNAL: file that gets a line per seed trained.  FAULT_PAUSE: seconds per update.

    FAULT_STUCK: `python` or `c`, how every seed from FAULT_STUCK_FROM on hangs at update 1.
    """
    seeds, step = watch(groups)
    if not seeds:
        return centred(groups)
    if step == 0 and "FAULT_JOURNAL" in os.environ:
        with Path(os.environ["FAULT_JOURNAL"]).open("a", encoding="utf-8") as journal:
            journal.write("".join(f"{seed}\n" for seed in seeds))
    if step == 1 and "FAULT_STUCK" in os.environ and max(seeds) >= int(os.environ["FAULT_STUCK_FROM"]):
        {"python": loops, "c": sticks}[os.environ["FAULT_STUCK"]]()
    time.sleep(float(os.environ.get("FAULT_PAUSE", "0")))
    return centred(groups)


RULES = {fault.__name__: breaking(fault) for fault in FAULTS}
for name, credit in {"clean": clean, "diverges": diverging, "killed_late": slow_then_killed, **RULES}.items():
    register(Algorithm(name, credit, policy_gradient, compares="candidates", paper="none"))
