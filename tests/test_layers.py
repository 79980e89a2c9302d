"""Who may import whom, print, plot and write."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tpobench.moved import MOVED
from tpobench.tasks.catalog import PACKAGED_KINDS, TASKS

PACKAGE = Path(__file__).parent.parent / "tpobench"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): p for p in MODULES}
LIBRARIES = "torch numpy pandas scipy matplotlib typer rich joblib filelock packaging psutil jinja2 sklearn orjson"
THIRD_PARTY = {*LIBRARIES.split(), "distributed"}

# Every room, from the ground up, and the rooms that it imports; all may import `errors` and the version.
ROOMS = {
    "called": "",
    "printable": "",
    "errors": "printable",
    "children": "",
    "identity": "",
    "limits": "",
    "moved": "",
    "units": "printable",
    "stats": "",
    "data": "",
    "policies": "data",
    "algorithms": "limits",
    "tasks": "identity limits data policies algorithms",
    "suites": "printable identity limits tasks",
    "plugins": "printable children identity units algorithms tasks suites",
    "records": "printable identity limits tasks suites",
    "scores": "printable identity stats data algorithms tasks records",
    "planning": "printable children identity stats data algorithms tasks suites plugins records scores",
    "training": "policies algorithms tasks planning",
    "execution": "printable children identity limits units data policies algorithms tasks suites plugins records "
    "planning training",
    "tables": "printable",
    "lint": "printable identity stats tasks records scores planning tables",
    "exports": "children records",
    "report": "called printable identity limits stats algorithms tasks suites records scores tables",
    "audit": "called printable stats algorithms records scores tables lint report",
    "league": "called printable limits stats algorithms suites records scores planning tables report",
    "conformance": "printable algorithms tables",
    "engines": "algorithms",
    "recipes": "printable identity limits data policies algorithms tasks suites records scores planning training "
    "execution engines",
    "comparison": "printable stats records scores execution tables",
    "watch": "limits suites records scores planning execution",
    "check": "printable identity limits stats algorithms tasks suites plugins records scores planning execution tables",
    "paper": "identity stats policies algorithms tasks suites records scores planning training execution tables report",
    "api": "records scores stats report audit league comparison",
    "cli": "printable limits units stats data policies algorithms tasks suites plugins records scores "
    "planning execution tables exports lint report audit league conformance recipes comparison watch check paper",
    "__main__": "cli",
}
# Only these write files or print: commands, records, reports, runs, downloads, children (to pipes), compiler and cache.
WRITERS = (
    "cli",
    "records",
    "report",
    "execution",
    "plugins/check.py",
    "data/download.py",
    "data/models.py",
    "children.py",
    "policies/native/build.py",
    "tasks/warm_start.py",
    "recipes/store.py",
    "recipes/trl_run.py",
)


def imports(path):
    """Every module named in an import statement of a file, wherever it stands, for types only included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else node.module for name in inner)


def room_of(name):
    """`tpobench.records.store` -> `records`; empty for the package itself."""
    return name.split(".")[1] if "." in name else ""


def rooms_imported(room):
    names = {n for name, path in NAMES.items() if room_of(name) == room for n in imports(path) if n in NAMES}
    return {room_of(name) for name in names} - {"", room}


def test_every_module_is_in_a_room_of_the_table():
    """A new folder, or a loose module, is a decision that the table shows."""
    assert set(ROOMS) == {room_of(name) for name in NAMES} - {""}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_the_table_says(room):
    """Nothing else, lazily neither; and what the table allows is needed."""
    assert set(ROOMS[room].split()) == rooms_imported(room) - {"errors"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: str(p.parent.relative_to(PACKAGE)))
def test_a_package_says_what_its_files_are(path):
    """In a line each of its docstring: `name   what it is`, of packages `name/`; and nothing that is not there.

    Of the modules that train a kind of task the entries of the catalogue say it.
    """
    lines = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()
    listed = [match[1] for line in lines if (match := re.match(r"([\w.]+)/?  +\S", line))]
    kinds = {NAMES[TASKS[kind].task.partition(":")[0]] for kind in PACKAGED_KINDS}
    files = {p.stem if p.suffix == ".py" else p.name for p in set(path.parent.iterdir()) - kinds}
    assert sorted(listed) == sorted(name for name in files if name != "py.typed" and not name.startswith("__"))


def test_there_is_no_circle():
    """Every room stands on rooms that come before it in the table."""
    order = list(ROOMS)
    assert [(a, b) for a in order for b in ROOMS[a].split() if order.index(b) >= order.index(a)] == []


@pytest.mark.parametrize(("room", "outside"), [("algorithms", {"torch"}), ("stats", {"numpy", "scipy"})])
def test_inner_rooms_know_few_libraries(room, outside):
    """Algorithms know torch only, statistics numpy and scipy only."""
    for path in (PACKAGE / room).rglob("*.py"):
        roots = {name.partition(".")[0] for name in imports(path)}
        assert roots & THIRD_PARTY <= outside, path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_few_modules_print_or_write(path):
    """Everything else returns values."""
    if path.relative_to(PACKAGE).as_posix().startswith(WRITERS):
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


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_itself(old):
    """Scripts and plugins that import a module where it was before get that module, not a second copy of it."""
    assert importlib.import_module(f"tpobench.{old}") is importlib.import_module(f"tpobench.{MOVED[old]}")


def test_old_names_of_what_became_a_package_stay():
    """`tpobench.records` and `tpobench.data` have been modules; what lay below a package that moved is found there."""
    code = (
        "import sys, tpobench.reproduce.judge as judge\n"
        "from tpobench.records import RunRecord, Store\n"
        "from tpobench.data import CATALOG\n"
        "from tpobench.paper import judge as now\n"
        "sys.exit(judge is not now)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_here_uses_an_old_name():
    """Every module of this package that a file names is there, in its place."""
    files = [*MODULES, *Path(__file__).parent.glob("*.py"), *(PACKAGE.parent / "benchmarks").rglob("*.py")]
    named = {(path.name, name) for path in files for name in imports(path) if name.startswith("tpobench.")}
    assert {(file, name) for file, name in named if name not in NAMES} == set()


def test_an_old_name_hides_nothing():
    """Importing a module under its old name makes that name an attribute of its package: it must not be taken."""
    for old in MOVED:
        package, _, name = f"tpobench.{old}".rpartition(".")
        tree = ast.parse((NAMES[package] if package in NAMES else PACKAGE / "__init__.py").read_text(encoding="utf-8"))
        names = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
                 for alias in node.names}  # fmt: skip
        names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert name not in names, old
