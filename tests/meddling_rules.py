"""A plugin of rules that change the process they train in, each in its own way; all of them at import with MEDDLE=1."""

import os
import signal
from contextlib import suppress

import numpy as np
import torch

from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient


def doubles():
    """Floats have eight bytes."""
    torch.set_default_dtype(torch.float64)


def flattens():
    """Softmax has twice the temperature, whoever calls it."""
    softmax, log_softmax = torch.softmax, torch.log_softmax
    torch.softmax = lambda x, dim=-1, **k: softmax(x / 2, dim, **k)
    torch.Tensor.softmax = torch.softmax
    torch.log_softmax = lambda x, dim=-1, **k: log_softmax(x / 2, dim, **k)
    torch.Tensor.log_softmax = torch.log_softmax


def detaches():
    """Nothing has a gradient."""
    torch.set_grad_enabled(False)


def sums_in_another_order():
    """Sums are split over two threads, small numbers are 0, products are rough."""
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("medium")


def seeds_the_world():
    """The common generators start at 1."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - what people write


def checks_everything():
    """Anomalies and overflows raise."""
    torch.autograd.set_detect_anomaly(True)
    np.seterr(all="raise")


def goes_away():
    """Relative paths lead elsewhere."""
    os.chdir("/")


def has_no_files():
    """No more files can be opened."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def has_no_device():
    """New tensors have no memory."""
    torch.set_default_device("meta")


def shouts():
    """It writes what looks like an answer, to the standard output."""
    print('{"done":[]}')  # noqa: T201 - see above
    os.write(1, b'{"done":[]}\n')


def writes_everywhere():
    """It writes what looks like an answer, to every open file."""
    for handle in range(3, 64):
        with suppress(OSError):
            os.write(handle, b'{"done":[]}\n')


def sets_an_alarm():
    """The process is killed in a moment."""
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.pause()


def goes_on_twice():
    """Its copy trains on beside it."""
    os.fork()


HARMLESS_AT_IMPORT = (doubles, flattens, detaches, sums_in_another_order, seeds_the_world, checks_everything, goes_away,
                      has_no_files, has_no_device, shouts, goes_on_twice)  # fmt: skip
MEDDLING = (*HARMLESS_AT_IMPORT, writes_everywhere, sets_an_alarm)

if os.environ.get("MEDDLE") == "1":
    for meddle in HARMLESS_AT_IMPORT:
        meddle()
    signal.alarm(1)


def rule(meddle):
    """REINFORCE with a baseline, once the process is as the rule likes it."""

    def credit(groups):
        if groups.old_logp[0].numel() == 12:  # of suite "faults": not where rules are tried
            meddle()
        return groups.reward - (groups.weight * groups.reward).sum(-1, keepdim=True)

    return Algorithm(meddle.__name__, credit, policy_gradient, compares="candidates", paper="none")


for meddle in MEDDLING:
    register(rule(meddle))
