"""What hypothesis puts into files and options: any plain value, and any field of a valid one replaced by another."""

import copy

from hypothesis import strategies as st

TEXTS = ["", "x", "0", "nan", "1e999", "\n", "\x1b[31m", "../x", "x" * 20_000, "\u202e", "=1+1", "[" * 900, "9" * 5000]
NUMBERS = [
    0, 1, -1, 2, True, False, 2**31, 2**53, 2**63, 2**64, 10**400, 0.0, -0.0, 0.5, -0.5, 1e-300, 1e16, 1e99, 1e101,
    1e308, -1e308,
]  # fmt: skip
SCALARS = st.one_of(st.none(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.integers(), st.text(max_size=9))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
REMOVED = "<removed>"


def paths(value, path=()):
    """The way to every field and item of a nested value, of long lists to the ends only."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys if isinstance(value, dict) or len(keys) < 4 else (0, len(keys) - 1):
        yield (*path, key)
        yield from paths(value[key], (*path, key))


def replaced(value, path, new):
    """A copy with another value at a path, or without it."""
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if new == REMOVED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return changed


@st.composite
def mutants(draw, value, changes=2):
    """`value` with up to a few of its fields removed or replaced by anything."""
    for _ in range(draw(st.integers(1, changes))):
        where = list(paths(value))
        if where:
            value = replaced(value, draw(st.sampled_from(where)), draw(st.just(REMOVED) | VALUES))
    return value
