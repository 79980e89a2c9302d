"""What ships is documented: verbs, rules, suites; and the README's commands are the ones that run."""

import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
from typer.main import get_command

from tpobench import __version__
from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN, FAMILIES, family_of
from tpobench.cli import app
from tpobench.suites.load import suite_names

ROOT = Path(__file__).parent.parent


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


README, CHANGELOG = read("README.md"), read("CHANGELOG.md")


@pytest.mark.parametrize("verb", sorted(get_command(app).commands))
def test_every_verb_is_in_the_list_of_commands(verb):
    """`tpobench VERB` appears in docs/commands.md."""
    assert f"tpobench {verb}" in read("docs/commands.md")


def test_the_tables_of_algorithms_are_the_catalogues():
    """`python tests/make_algorithm_tables.py` writes them."""
    from make_algorithm_tables import MARK, PAGE, tables

    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == tables()


def test_the_documents_name_no_algorithm_or_suite_that_is_not_there():
    """docs/suites.md has a row for every suite, and docs/algorithms.md begins with names of every family."""
    rows = [line.split("|")[1] for line in read("docs/suites.md").splitlines() if line.startswith("| `")]
    assert set(suite_names()) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    _, _, families = read("docs/algorithms.md").partition("By family: ")
    named = set(re.findall(r"`(\w+)`", families.partition("Modifiers are put")[0]))
    assert named <= set(ALGORITHMS)
    assert {family_of(name) for name in named} == set(FAMILIES)


def test_the_readme_is_short_and_leads_to_every_document():
    """About 6 kB; every page of docs/ is linked from it, or from a page that it links."""
    assert len(README.encode()) < 7000
    reached, left = set(), {"README.md"}
    while left:
        page = left.pop()
        reached.add(page)
        targets = re.findall(r"\]\((?!https?:|#)([^)#]+\.md)[^)]*\)", read(page))
        left |= {os.path.normpath(Path(page).parent / target) for target in targets} - reached
    assert {p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md")} <= reached


def test_the_site_has_every_document_and_a_page_for_each_thing():
    """mkdocs.yml names what lies in docs/; docs/hooks.py makes a page of every command, suite and algorithm."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    spec.loader.exec_module(hooks := importlib.util.module_from_spec(spec))
    listed = set(re.findall(r"^ +- (\S+\.md)$", read("mkdocs.yml"), re.MULTILINE)) | hooks.LISTED
    made = {*hooks.MOVED.values(), "gallery.md", "api.md"}
    assert listed == {p.name for p in ROOT.glob("docs/*.md")} | made
    pages = {**dict(hooks.commands()), **dict(hooks.suites()), **dict(hooks.algorithms())}
    things = {"commands": get_command(app).commands, "suites": suite_names(), "algorithms": BUILT_IN}
    assert set(pages) == {f"{folder}/{name}.md" for folder, names in things.items() for name in names}
    assert "q_k ~ p_old(k) exp(u_k)" in pages["algorithms/tpo.md"]
    assert "| `-s, --suite TEXT` |" in pages["commands/run.md"]
    assert 'reward = ["bag_of_tokens", "sequential", "terminal"]' in pages["suites/sparse.md"]


def test_continuous_integration_runs_the_readmes_test_command():
    """.ci/run reads the command from README; here: that there is one, and that it tests."""
    block = re.search(r"<!-- test -->\n```[a-z]*\n(.*?)\n```", README, re.DOTALL)
    assert block
    assert "pytest" in block[1]
    assert "<!-- test -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_changelog_speaks_of_this_version():
    """Keep a Changelog: a heading per version."""
    assert f"## [{__version__}]" in CHANGELOG


def test_what_is_cited_is_this_version():
    """Version and date of CITATION.cff are those of the last release in the changelog."""
    (released,) = re.findall(rf"^## \[{re.escape(__version__)}\] - (\S+)$", CHANGELOG, re.MULTILINE)
    citation = read("CITATION.cff")
    assert re.findall(r"^(?:version|date-released): (\S+)$", citation, re.MULTILINE) == [__version__, released]


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md"))]
)
def test_linked_files_exist(page):
    """Relative links and pictures of the README and the documents lead somewhere."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize(
    ("name", "settings", "seeds", "kernel"),
    [
        ("sparse", ["training.seed_batch=1"], 30, "native"),
        ("bandit", [], 100, "plain"),
        ("contexts", [], 100, "plain"),
    ],
)
def test_committed_records_are_complete(name, settings, seeds, kernel):
    """The packed records behind the README's numbers hold every seed that it names of every default algorithm."""
    from tpobench.planning.plan import plan_runs
    from tpobench.suites.load import load_suite

    lines = (ROOT / "results" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ids = {json.loads(line)["id"] for line in lines}
    assert {
        spec.run_id for spec in plan_runs(load_suite(name, settings), seeds=range(seeds), kernel=kernel).specs
    } == ids
