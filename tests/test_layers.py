"""Who may import whom, print, plot and write."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tpobench"
MODULES = sorted(PACKAGE.rglob("*.py"))
LIBRARIES = "torch numpy pandas scipy matplotlib typer rich joblib filelock psutil jinja2 sklearn distributed"
THIRD_PARTY = set(LIBRARIES.split())


def imports(path):
    """Every module named in an import statement of a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nobody_imports_the_command_line(path):
    """cli is the outermost layer; only `python -m tpobench` starts it."""
    if path.name != "__main__.py" and path.parent.name != "cli":
        assert "tpobench.cli" not in set(imports(path))


@pytest.mark.parametrize(
    ("folder", "outside", "inside"),
    [
        ("algorithms", {"torch"}, {"tpobench.groups", "tpobench.errors", "tpobench.algorithms"}),
        ("stats", {"numpy", "scipy"}, {"tpobench.stats"}),
    ],
)
def test_inner_layers_stay_inner(folder, outside, inside):
    """Rules know torch and groups only, statistics numpy and scipy only."""
    for path in (PACKAGE / folder).rglob("*.py"):
        for name in imports(path):
            root = name.partition(".")[0]
            if root in THIRD_PARTY:
                assert root in outside, f"{path.name} imports {name}"
            if root == "tpobench":
                assert any(name == i or name.startswith(i + ".") for i in inside), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_four_modules_print_or_write(path):
    """cli, records, report and execution; everything else returns values."""
    if path.relative_to(PACKAGE).parts[0] in {"cli", "records.py", "report", "execution"}:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert name not in {"print", "write_text", "write_bytes", "open", "savefig", "mkdir"}, (
                f"{path}:{node.lineno}"
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_pickle_is_read_or_written(path):
    """Results from elsewhere are data, never code."""
    assert not {"pickle", "dill", "shelve", "marshal"} & {name.partition(".")[0] for name in imports(path)}
