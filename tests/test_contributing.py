"""CONTRIBUTING.md: its picture is the table of rooms, and its four changes work as they are printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_layers import ROOMS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("tpobench", "suites", "tests", "docs", "README.md", "CHANGELOG.md", "pyproject.toml")
# of which tests follow from an entry alone
FOLLOWING = ("test_catalog", "test_every_task", "test_docs", "test_help", "test_layers", "test_plots")
SELECTED = "cispo_floor or penny or rank or best or tables_of or families or says_what or styles or order_of_work"


def floors() -> str:
    """A room stands one floor above the highest that it imports."""
    floor: dict[str, int] = {}
    for room, below in ROOMS.items():
        floor[room] = 1 + max((floor[name] for name in below.split()), default=-1)
    levels = sorted(set(floor.values()), reverse=True)
    return "\n".join(f"{n:>2}  {'  '.join(room for room in ROOMS if floor[room] == n)}" for n in levels)


def blocks(title: str) -> list[tuple[str, str, str]]:
    """(language, file, text) of a section's blocks; the first line names the file."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"```(diff|python|toml)\n(?:\+\+\+|#) (\S+)\n(.*?)\n```", section, re.DOTALL)


CHANGES = {title: blocks(title) for title in ("An algorithm", "A task", "A metric", "A verb")}


def changed(text: str, diff: str) -> str:
    """A text with every hunk applied at the one place where it fits."""
    for hunk in diff.split("\n@@\n"):
        lines = [line or " " for line in hunk.split("\n")]
        old, new = ("\n".join(line[1:] for line in lines if line[0] in marks) for marks in (" -", " +"))
        assert text.count(old) == 1, f"{text.count(old)} places for:\n{old}"
        text = text.replace(old, new)
    return text


def cost(title: str) -> tuple[int, int]:
    """Files beside the test, and lines that come or go in them."""
    files = {path: text for _, path, text in CHANGES[title] if not path.startswith("tests/")}
    languages = {path: language for language, path, _ in CHANGES[title]}
    lines = [
        line for path, text in files.items() for line in text.split("\n")
        if languages[path] != "diff" or (line[:1] in {"+", "-"})
    ]  # fmt: skip
    return len(files), len(lines)


def test_the_picture_is_the_table_of_rooms() -> None:
    """Floor by floor."""
    assert f"```text\n{floors()}\n```" in PAGE


@pytest.mark.parametrize("title", CHANGES)
def test_what_a_change_costs_is_what_is_printed(title: str) -> None:
    """Files and lines of the worked examples, the test aside."""
    files, lines = cost(title)
    assert re.search(rf"^\| {title.split()[1]} \|.*\| {files} files?, {lines} lines \|", PAGE, re.MULTILINE), (
        files,
        lines,
    )


@pytest.mark.slow
def test_the_four_changes_work(tmp_path: Path) -> None:
    """On a copy: their own tests, and what other tests ask of an entry by itself."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "extracts"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    for language, path, text in (block for section in CHANGES.values() for block in section):
        file = tmp_path / path
        new = changed(file.read_text(encoding="utf-8"), text) if language == "diff" else text + "\n"
        file.write_text(new, encoding="utf-8")
    tests = [path for section in CHANGES.values() for _, path, _ in section if path.startswith("tests/")]
    words = [*tests, *(f"tests/{name}.py" for name in FOLLOWING), "-k", SELECTED, "-p", "no:cacheprovider"]
    code = (
        "import runpy, sys, pytest; runpy.run_path('tests/make_algorithm_tables.py', run_name='__main__'); "
        f"sys.exit(pytest.main({words}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > len(tests)
