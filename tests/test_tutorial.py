"""docs/tutorial.md does what it says: its commands are run as they stand, and its comparison is significant."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_contributing import changed

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|diff)\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)


def test_it_is_installed_as_the_readme_says() -> None:
    """By the beginning of the README's own command; and it takes a reader through every step."""
    installed = re.search(r"`(python3 -m venv [^`]*)`", PAGE)
    assert installed
    assert f"\n{installed[1]} && tpobench run" in (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = [text.split()[1] for language, text in BLOCKS if language == "bash"]
    assert verbs == ["--version", "new-algo", "validate", "run", "report", "compare", "compare", "power"]


@pytest.mark.slow
def test_the_commands_work_as_they_stand(tmp_path: Path) -> None:
    """In an empty folder, one after another, with the edit between them."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "tpobench"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tpobench "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    folder = tmp_path / "empty"
    folder.mkdir()
    path = os.pathsep.join((str(command.parent), os.environ.get("PATH", "")))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    outputs = []
    for language, text in BLOCKS:
        if language == "diff":
            name, _, diff = text.removeprefix("+++ ").partition("\n")
            file = folder / name
            file.write_text(changed(file.read_text(encoding="utf-8"), diff), encoding="utf-8")
            continue
        done = subprocess.run(
            ["sh", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        outputs.append(done.stdout)
    _, _, validated, _, report, against_reinforce, against_grpo, power = outputs
    assert validated.startswith("mine keeps its contract\n")
    assert "\n  - " not in validated
    assert re.search(r"^Cell +p0 +grpo +reinforce +mine$", report, re.MULTILINE)
    verdicts = re.findall(r"^baseline=.* (\S+)$", against_reinforce, re.MULTILINE)
    assert verdicts == ["better", "better"]
    assert "p <.001 (stratified-perm, least .0002): A is better" in against_reinforce
    assert "A is not distinguishable; score" in against_grpo
    assert len(re.findall(r"^grpo - reinforce .*\d+ seeds for 10$", power, re.MULTILINE)) == 2
