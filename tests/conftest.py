"""What every test gets."""

import os
import re
import signal

import pytest
from record_helpers import command

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.plugins import load as plugins
from tpobench.suites.load import SUITES
from tpobench.tasks.catalog import TASKS

# What a shell, a terminal or a workflow tells this program and its children; a test says itself what it needs.
TOLD = re.compile(
    r"(TPOBENCH|FAULT|GITHUB|LC|MPL)\w+|CI|(NO_|FORCE_|CLI)COLOR\w*|COLUMNS|LINES|TERM|LANG(UAGE)?|\w+_(proxy|PROXY)"
    r"|PYTHON(UTF8|IOENCODING|COERCECLOCALE|WARNINGS|DEVMODE|OPTIMIZE|HASHSEED)|SOURCE_DATE_EPOCH"
)


for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:  # of a shell that put the tests into the background
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


for _name in filter(TOLD.fullmatch, list(os.environ)):
    del os.environ[_name]  # before the modules of tests are imported, and for their children too


@pytest.fixture(autouse=True, scope="session")
def _the_cache_of_the_user_is_empty(tmp_path_factory):
    """No data of this machine is found."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platformdirs.user_cache_path", lambda name, **_: cache / name)
        yield


@pytest.fixture(autouse=True)
def _rules_of_a_test_stay_in_it():
    """A rule that a test registers, by hand or by a plugin, is gone for the next one."""
    registries = (ALGORITHMS, TASKS, SUITES, plugins.VERSIONS, plugins.TASK_VERSIONS, plugins._loaded)
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture
def command_line(monkeypatch, capsys, tmp_path):
    """Runs the command line in this process, in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: command(monkeypatch, capsys, *words)
