"""Which devices may be asked for, and how many seeds a device carries."""

import re

import pytest

from tpobench.errors import UsageError
from tpobench.planning import devices
from tpobench.planning.devices import Devices, parse_device, smallest_memory
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import load_suite

GIB = 2**30


@pytest.fixture
def _two_devices(monkeypatch):
    found = tuple({"index": i, "name": "GPU", "memory_bytes": (16 + 8 * i) * GIB} for i in range(2))
    monkeypatch.setattr(devices, "probe", lambda: Devices(found))


@pytest.mark.usefixtures("_two_devices")
@pytest.mark.parametrize(
    ("text", "kind", "indices"),
    [
        ("cpu", "cpu", ()),
        ("cuda", "cuda", (0, 1)),
        ("cuda:1", "cuda", (1,)),
        ("cuda:1,cuda:0", "cuda", (1, 0)),
        ("cuda:0,cuda:0", "cuda", (0,)),
    ],
)
def test_devices_are_named_by_kind_and_index(text, kind, indices):
    """`cuda` is all of them."""
    assert parse_device(text) == (kind, indices)


@pytest.mark.usefixtures("_two_devices")
@pytest.mark.parametrize("text", ["", "tpu", "cuda:", "cuda:x", "cpu,cuda", "cuda,cuda:1", "cuda:-1", "cpu:0"])
def test_what_is_no_device_is_refused(text):
    """With the ways to write one."""
    with pytest.raises(UsageError, match="valid: cpu, cuda, cuda:1"):
        parse_device(text)


@pytest.mark.usefixtures("_two_devices")
def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    """Before anything runs."""
    with pytest.raises(UsageError, match="device cuda:7: this machine has cuda:0, cuda:1; use --device cpu"):
        parse_device("cuda:7")


def test_without_cuda_the_reason_is_told(monkeypatch):
    """What torch says, or what keeps it from speaking."""
    monkeypatch.setattr(devices, "probe", lambda: Devices((), "torch 2.13.0+cpu is built without CUDA"))
    with pytest.raises(UsageError, match=r"device cuda: torch 2\.13\.0\+cpu is built without CUDA; use --device cpu"):
        plan_runs(load_suite("bandit"), device="cuda")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('ImportError: libcudart is missing')", "torch does not work: .*libcudart is missing"),
        ("print('not json')", "torch does not answer"),
        ("", "torch does not answer"),
    ],
)
def test_a_broken_torch_is_a_reason_and_no_traceback(monkeypatch, code, reason):
    """The probe runs in a process of its own, so that the parent never holds a device."""
    monkeypatch.setattr(devices, "PROBE", code)
    found = devices.probe.__wrapped__()
    assert found.devices == ()
    assert re.search(reason, found.reason)


@pytest.mark.usefixtures("_two_devices")
def test_seeds_are_stacked_as_wide_as_the_smallest_device_allows():
    """60 % of its memory, and no more than the suite has seeds; the index of the device is no part of a run."""
    assert smallest_memory((0, 1)) == 16 * GIB
    suite = load_suite("terminal_reward", ["length=10"])
    bytes_per_seed = 20_000 * 100 * 10 * (1 + 8)
    widest = int(0.6 * 16 * GIB) // bytes_per_seed
    assert widest > suite.seeds
    (spec, *_) = plan_runs(suite, ["tpo"], [0], "cuda").specs
    assert (spec.device, spec.seed_batch) == ("cuda", suite.seeds)
    wide = load_suite("terminal_reward", ["length=10", "prompts=2000"])
    (spec, *_) = plan_runs(wide, ["tpo"], [0], "cuda:1").specs
    assert spec.seed_batch == int(0.6 * 24 * GIB) // (20 * bytes_per_seed)
    (spec, *_) = plan_runs(wide, ["tpo"], [0], "cpu").specs
    assert spec.seed_batch == 1
