"""Entry points of installed packages: found by name, part of runs' identity; a broken one costs its users one line."""

# ruff: noqa: E501 - a table of little files

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.errors import UsageError
from tpobench.execution import execute
from tpobench.planning.plan import plan_runs
from tpobench.plugins import installed as entry_points
from tpobench.plugins import load as plugins
from tpobench.plugins.load import load_plugins
from tpobench.records.store import Store
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import TASKS

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
RULES = """
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient
from acme.helpers import SCALE

def credit(groups):
    return SCALE * (groups.reward - groups.reward.mean(-1, keepdim=True))

acme_pg = Algorithm("acme_pg", credit, policy_gradient, compares="candidates", paper="ours")
"""
ACME = {
    "acme/__init__.py": "",
    "acme/helpers.py": "SCALE = 1.0\n",
    "acme/rules.py": RULES,
    "acme/other.py": "",
    "acme/coin.py": (EXAMPLES / "coin.py").read_text(encoding="utf-8"),
    "acme/suites.py": "ACME_COIN = 'acme_coin.toml'\n",
    "acme/acme_coin.toml": (EXAMPLES / "coin.toml").read_text(encoding="utf-8").replace('"grpo"', '"acme_pg"'),
}
POINTS = {
    "algorithms": ["acme_pg = acme.rules:acme_pg"],
    "tasks": ["coin = acme.coin:CoinSettings"],
    "suites": ["acme_coin = acme.suites:ACME_COIN"],
}
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package as pip does: its files and its metadata, in a folder that is on the path of modules."""

    def put(name: str = "acme", version: str = "1.2.0", files=ACME, **points: list[str]) -> Path:
        site = tmp_path / f"site-{name}"
        groups = "\n".join(f"[tpobench.{group}]\n" + "\n".join(lines) for group, lines in points.items())
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        info = f"{name}-{version}.dist-info"
        for path, text in {**files, f"{info}/METADATA": metadata, f"{info}/entry_points.txt": groups}.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(site)
        entry_points._entries.cache_clear()
        return site

    yield put
    forget()


@pytest.fixture
def _untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is brought is not tried in a child process first."""
    monkeypatch.setattr("tpobench.plugins.check.require_contract", lambda _: None)


def forget() -> None:
    """As in a process that has imported nothing of the package."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "acme"]:
        del sys.modules[name]
    entry_points._digests.clear()


def versions() -> tuple[str, str, str]:
    """The versions of the algorithm and the task, and the id of the first run, of the package as it is now."""
    for registry, name in ((ALGORITHMS, "acme_pg"), (TASKS, "coin")):
        registry.pop(name, None)
    plugins._loaded.clear()
    forget()
    load_plugins(suites=["acme_coin"])
    spec = plan_runs(load_suite("acme_coin"), ["acme_pg"], [0]).specs[0]
    return spec.algorithm_version, spec.task_version, spec.run_id


@pytest.mark.usefixtures("_untried")
def test_a_name_is_imported_when_it_is_asked_for(install: Install) -> None:
    """An algorithm by a plan of it; a suite brings its kind of task and its algorithms; looking imports nothing."""
    install(**POINTS)
    assert entry_points.installed_names("tpobench.algorithms") == ["acme_pg"]
    load_plugins(algorithms=["tpo"], kinds=["bandit"])
    assert not [n for n in sys.modules if n.startswith("acme")]
    assert plan_runs(load_suite("bandit"), ["acme_pg"], [0]).specs[0].algorithm_version.startswith("acme 1.2.0 ")
    assert "acme.coin" not in sys.modules
    assert [p.path for p in load_plugins(suites=["acme_coin"], algorithms=["tpo"])] == [
        "acme 1.2.0 (tpobench.suites: acme_coin = acme.suites:ACME_COIN)",
        "acme 1.2.0 (tpobench.tasks: coin = acme.coin:CoinSettings)",
    ]
    assert load_suite("acme_coin").algorithms == ("tpo", "acme_pg", "reinforce")


@pytest.mark.usefixtures("_untried")
def test_the_package_and_what_a_module_imports_of_it_are_part_of_a_run(install: Install) -> None:
    """Its name and version, its text and that of its helpers; what it does not import is not."""
    site = install(**POINTS)
    first = versions()
    assert [v.rpartition(" ")[0] for v in first[:2]] == ["acme 1.2.0"] * 2
    (site / "acme" / "other.py").write_text("EDITED = 1\n", encoding="utf-8")
    assert versions() == first
    (site / "acme" / "helpers.py").write_text("SCALE = 2.0\n", encoding="utf-8")
    second = versions()
    assert (second[0] != first[0], second[1] == first[1], second[2] != first[2]) == (True, True, True)
    (site / "acme-1.2.0.dist-info" / "METADATA").write_text("Name: acme\nVersion: 1.3.0\n", encoding="utf-8")
    entry_points._entries.cache_clear()
    assert versions()[0].startswith("acme 1.3.0 ")


@pytest.mark.usefixtures("_untried")
def test_a_file_comes_before_what_is_installed(install: Install, tmp_path: Path) -> None:
    """Whoever names it works on it; the two have other versions."""
    install(**POINTS)
    path = tmp_path / "mine.py"
    path.write_text(
        RULES.replace("from acme.helpers import SCALE", "SCALE = 3.0")
        + "\nfrom tpobench import register\nregister(acme_pg)\n",
        encoding="utf-8",
    )
    (plugin,) = load_plugins([path], algorithms=["acme_pg"])
    assert plugin.path == str(path)
    assert plan_runs(load_suite("bandit"), ["acme_pg"], [0]).specs[0].algorithm_version == plugin.version


BROKEN = {
    "import": ("x = acme.late:x", {"acme/late.py": "\nimport nothing_of_that_name\n"}, "acme/late.py line 2: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    "syntax": ("x = acme.late:x", {"acme/late.py": "def f(:\n"}, "acme/late.py line 1: SyntaxError"),
    "attribute": ("x = acme.rules:x", {}, "AttributeError: module 'acme.rules' has no attribute 'x'"),
    "type": ("x = acme.rules:credit", {}, "it names the function 'credit', not an Algorithm called 'x'"),
    "other name": ("x = acme.rules:acme_pg", {}, "it names the Algorithm 'acme_pg', not an Algorithm called 'x'"),
    "no module": ("x = gone.rules:x", {}, "no module 'gone' here; install the package again, or uninstall it"),
    "more": ("x = acme.late:x", {"acme/late.py": "from tpobench import register\nfrom acme.rules import acme_pg\nx = register(acme_pg)\n"}, "importing 'acme.late' registers 'acme_pg' too"),
    "built-in": ("tpo = acme.rules:acme_pg", {}, "algorithm 'tpo' is one of tpobench, and acme 1.2.0 (tpobench.algorithms: tpo = acme.rules:acme_pg) has its name"),
}  # fmt: skip


@pytest.mark.usefixtures("_untried")
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_entry_point_costs_its_own_users_one_line(install: Install, case: str) -> None:
    """With the package in it; every other name is as usable as before."""
    point, files, words = BROKEN[case]
    install(files=ACME | files, algorithms=[point, *POINTS["algorithms"]], tasks=POINTS["tasks"])
    with pytest.raises(UsageError) as refusal:
        load_plugins(algorithms=[point.partition(" ")[0]])
    assert words in str(refusal.value)
    assert "acme 1.2.0 (" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "x" not in ALGORITHMS
    assert [p.package for p in load_plugins(algorithms=["acme_pg", "grpo"], kinds=["coin"])] == ["acme 1.2.0"] * 2


@pytest.mark.usefixtures("_untried")
def test_two_packages_of_one_name_are_refused(install: Install) -> None:
    """Both are named; damaged metadata of a third is nobody's matter."""
    install(**POINTS)
    install("apex", "2.0", {}, algorithms=["acme_pg = apex:acme_pg"])
    install("torn", "1.0", {}, algorithms=["no equals sign"])
    with pytest.raises(UsageError, match=r"'acme_pg' comes with apex 2.0 \(.*\) and acme 1.2.0 \(.*\); uninstall"):
        load_plugins(algorithms=["acme_pg"])
    assert len(load_plugins(kinds=["coin"])) == 1


@pytest.mark.usefixtures("_untried")
def test_a_package_that_was_edited_is_not_taken_for_what_was_imported(install: Install) -> None:
    """Neither by the process that has imported it, nor by a worker that would import another text."""
    site = install(**POINTS)
    load_plugins(algorithms=["acme_pg"])
    (site / "acme" / "helpers.py").write_text("SCALE = 2.0\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"'acme\.rules' is another than when the command began; start it again"):
        load_plugins(algorithms=["acme_pg"])


@pytest.mark.slow
def test_list_shows_what_is_installed_and_what_of_it_cannot_be_used(command_line, install: Install) -> None:
    """A contract that is broken too; nothing of that keeps the list from being shown."""
    rules = RULES.replace(".mean(-1, keepdim=True)", ".mean()").replace("acme_pg", "acme_mixed")
    points = ["acme_mixed = acme.mixed:acme_mixed", "grpo = acme.rules:acme_pg", *POINTS["algorithms"]]
    install(files={**ACME, "acme/mixed.py": rules}, algorithms=points, suites=POINTS["suites"], tasks=POINTS["tasks"])
    code, out, _ = command_line("list", "--json")
    listing = json.loads(out)
    assert code == 0
    assert "acme_pg" in {row["algorithm"] for row in listing["algorithms"]}
    assert "acme_coin" in {row["suite"] for row in listing["suites"]}
    (clash, mixed) = listing["unusable"]
    assert (clash["what"], mixed["what"]) == ("algorithm 'grpo'", "algorithm 'acme_mixed'")
    assert "acme_mixed': credit mixes seeds" in mixed["why"]


@pytest.mark.slow
@pytest.mark.usefixtures("_untried")
def test_workers_import_the_package(install: Install, tmp_path: Path) -> None:
    """Algorithm, task and suite of it, in a process of its own."""
    install(**POINTS)
    load_plugins(suites=["acme_coin"])
    plan = plan_runs(load_suite("acme_coin", smoke=True), ["acme_pg"], [0])
    assert execute(plan, tmp_path / "results").counts == {"ok": 2}
    spec = next(iter(Store(tmp_path / "results").known()[0].values())).spec
    assert [spec[k].rpartition(" ")[0] for k in ("algorithm_version", "task_version")] == ["acme 1.2.0"] * 2
