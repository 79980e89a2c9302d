"""What every test gets."""

import pytest
from record_helpers import command

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.execution import plugins


@pytest.fixture(autouse=True)
def _rules_of_a_test_stay_in_it():
    """A rule that a test registers, by hand or by a plugin, is gone for the next one."""
    registries = (ALGORITHMS, plugins.VERSIONS, plugins._loaded)
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
