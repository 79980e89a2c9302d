"""What every test gets."""

import pytest

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
