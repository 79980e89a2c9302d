"""The pages of the site that follow from the code and the records; nothing of them is committed.

A page per command, suite and algorithm is what `--help`, `show suite` and `show algo` say; reports, the league and the
reproduction are pages of results/; the gallery has their figures.  Links between files of the repository, as they read
there, become links between pages; files of code that are linked become pages too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
MOVED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
SHOWN = {".py": "python", ".toml": "toml", ".cff": "yaml", ".yml": "yaml", "": "text"}  # source that becomes a page
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
FIGURE = re.compile(r"^!\[[^\]]*\]\((figures/[^)]+)\)\n\n\*?(.+?)\*?$", re.MULTILINE)
FOLDED = re.compile(r"<details><summary>(.*?)</summary>.*?</details>\n*", re.DOTALL)
LISTED = {"commands.md", "suites.md", "algorithms.md"}  # pages that lead the lists made of the code
GRID = "<div class='gallery' markdown>"
IN_GALLERY = 4  # figures of a suite
origins: dict[str, str] = {}  # page -> the file of the repository that it is, or stands beside


def on_config(config: Any) -> Any:
    """The lists of commands, suites and algorithms in the navigation."""
    lists = {"Commands": ["commands.md", *dict(commands())], "Suites": ["suites.md", *dict(suites())],
             "Algorithms": ["algorithms.md", *_algorithm_nav()]}  # fmt: skip
    config.nav = [{title: lists.get(title, entries)} for part in config.nav for title, entries in part.items()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Every page that no file of docs/ is."""
    from mkdocs.structure.files import File

    origins.update({file.src_uri: f"docs/{file.src_uri}" for file in files})
    texts = {**dict(commands()), **dict(suites()), **dict(algorithms()), **dict(_results()), "api.md": API}
    texts["gallery.md"] = _gallery()
    for path, page in MOVED.items():
        texts[page], origins[page] = (ROOT / path).read_text(encoding="utf-8"), path
    for page in texts:
        origins.setdefault(page, page if page.startswith("results/") else f"docs/{page}")
    linked = {target for page in (*texts, *_written(files)) for target in _sources(page, texts)}
    for path in sorted(linked):
        texts[_source_page(path)] = _shown(path)
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    for picture in sorted((ROOT / "results").rglob("*.png")):
        path = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, path, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Links as the site has them, and names in the overviews as links."""
    here = page.file.src_uri
    if here in OVERVIEWS:
        folder, name = OVERVIEWS[here]
        markdown = re.sub(
            r"^\| [^|]*`[^|]*(?= \|)", lambda row: _linked(row[0], name, folder, files), markdown, flags=re.MULTILINE
        )

    def to(link: re.Match[str]) -> str:
        target = os.path.normpath(Path(origins.get(here, here)).parent / link[1])
        site = _site_uri(target)
        if files.get_file_from_path(site) is None:
            return link[0]  # between generated pages, or wrong: the strict build says so
        return os.path.relpath(site, Path(here).parent) + (link[2] or "")

    markdown = re.sub(r"`[^`\n]*\\\|[^`\n]*`", lambda code: code[0].replace("\\|", "|"), markdown)  # as GitHub reads it
    return LINK.sub(to, _without_links_to_data(markdown, origins.get(here, here)))


OVERVIEWS = {  # page -> folder of the pages of its rows, and what names one in the first cell of a row
    "commands.md": ("commands", r"`tpobench ([\w-]+)[^`]*`"),
    "algorithms.md": ("algorithms", r"`(\w+)`"),
    "suites.md": ("suites", r"`(\w+)`"),
}


def _linked(cell: str, pattern: str, folder: str, files: Files) -> str:
    """Each name in a cell that has a page, as a link to it."""

    def link(name: re.Match[str]) -> str:
        page = f"{folder}/{name[1]}.md"
        return name[0] if files.get_file_from_path(page) is None else f"[{name[0]}]({page})"

    return re.sub(pattern, link, cell)


def _site_uri(path: str) -> str:
    """Where a file of the repository stands in the site."""
    if path in MOVED:
        return MOVED[path]
    if path == "suites":
        return "suites.md"
    if path.startswith("docs/") and Path(path).suffix in {".md", ".png"}:
        return path.removeprefix("docs/")
    return path if path.startswith("results/") else _source_page(path)


def _source_page(path: str) -> str:
    return f"source/{path}.md"


def _written(files: Files) -> dict[str, str]:
    return {file.src_uri: "" for file in files.documentation_pages()}


def _sources(page: str, texts: dict[str, str]) -> Iterator[str]:
    """Files of code and settings that a page links."""
    text = texts.get(page) or (ROOT / "docs" / page).read_text(encoding="utf-8")
    for link in LINK.finditer(text):
        target = os.path.normpath(Path(origins[page]).parent / link[1])
        if (ROOT / target).is_file() and Path(target).suffix in SHOWN:
            yield target


def _shown(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8").rstrip("\n")
    head = "---\nsearch:\n  exclude: true\nhide: [navigation]\n---\n\n"
    return f"{head}# {path}\n\n````{SHOWN[Path(path).suffix]}\n{text}\n````\n"


def _without_links_to_data(markdown: str, origin: str) -> str:
    """`[text](../x.jsonl)` is its text: records and archives are no pages."""

    def plain(link: re.Match[str]) -> str:
        target = ROOT / os.path.normpath(Path(origin).parent / link[2])
        page = (target.is_file() and target.suffix in {".md", ".png", *SHOWN}) or target == ROOT / "suites"
        return link[0] if page or not target.exists() else link[1]

    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(?:#[^)\s]*)?\)", plain, markdown)


def commands() -> Iterator[tuple[str, str]]:
    """A page for each command, in the order of `tpobench --help`."""
    from typer.main import get_command

    from tpobench.cli import app
    from tpobench.cli.help import GROUPS

    root = get_command(app)
    for name in (name for group in GROUPS.values() for name in group):
        yield f"commands/{name}.md", "\n".join(_help(root.commands[name], f"tpobench {name}", "#"))


def _help(command: Any, words: str, level: str) -> Iterator[str]:
    from tpobench.cli.help import examples_of, options_of, text_of

    context = command.make_context(words, [], resilient_parsing=True)
    yield f"{level} {words}\n\n{_escaped(text_of(command))}\n"
    if not hasattr(command, "commands"):
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"```text\n{words} {usage}\n```\n"
    if examples := examples_of(command):
        yield "```bash\n" + "\n".join(examples) + "\n```\n"
    for title, rows in options_of(command, context).items():
        yield f"**{title}**\n\n| | |\n|---|---|"
        yield "\n".join(f"| `{_cell(name)}` | {_cell(_escaped(text))} |" for name, text in rows) + "\n"
    for name, inner in getattr(command, "commands", {}).items():
        yield from _help(inner, f"{words} {name}", level + "#")


def _escaped(text: str) -> str:
    return re.sub(r"([<*_\[])", r"\\\1", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def suites() -> Iterator[tuple[str, str]]:
    """A page for each suite: its settings, its file, and its report where there is one."""
    from tpobench.cli.browse import suite_document
    from tpobench.suites.load import load_suite, suite_names
    from tpobench.tables.writers import WRITERS

    for name in suite_names():
        suite, text = load_suite(name), WRITERS["md"](suite_document(name)).partition("\n")[2]
        report = ROOT / "results" / "report" / name / "report.md"
        intro = (
            f"# {name}\n\n{suite.title}.\n\n```bash\ntpobench run --suite {name}\ntpobench report results/{name}\n```\n"
        )
        link = f"\n[The report of the committed runs](../results/report/{name}/report.md)\n" if report.exists() else ""
        file = (ROOT / "suites" / f"{name}.toml").read_text(encoding="utf-8")
        yield f"suites/{name}.md", f"{intro}{link}{text}\n## The file\n\n```toml\n{file.rstrip()}\n```\n"


def algorithms() -> Iterator[tuple[str, str]]:
    """A page for each algorithm of the catalogue: what `show algo` says."""
    from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
    from tpobench.cli.details import algorithm_document, usable_suites
    from tpobench.tables.writers import WRITERS

    among = usable_suites()
    for name in BUILT_IN:
        text = WRITERS["md"](algorithm_document(ALGORITHMS[name], among)).partition("\n")[2]
        text = re.sub(r"^\| (\w+) \|(?= (?:all|none|\d+ of))", r"| [\1](../suites/\1.md) |", text, flags=re.MULTILINE)
        example = f"```bash\ntpobench run --suite sparse --algos {name},grpo\n```\n"
        yield f"algorithms/{name}.md", f"# {name}\n{text}\n{example}"


def _algorithm_nav() -> list[dict[str, list[str]]]:
    from tpobench.algorithms.catalog import FAMILIES

    return [{family: [f"algorithms/{a.name}.md" for a in members]} for family, members in FAMILIES.items()]


def _results() -> Iterator[tuple[str, str]]:
    """Reports, the league and the scorecards, without the long tables, which the files have."""
    for path in sorted((ROOT / "results").rglob("*.md")):
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        folded = FOLDED.findall(text)
        note = f"\n*Left out here, and in `{name}` of the repository: {'; '.join(folded)}.*\n" if folded else ""
        text = re.sub(r"\A# tpobench report$", f"# Report: {path.parent.name}", text, flags=re.MULTILINE)
        yield name, "---\nsearch:\n  boost: 0.3\n---\n\n" + FOLDED.sub("", text) + note


def _gallery() -> str:
    """The first figures of every report, each with its caption."""
    parts = ["# Gallery\n\nFigures of the committed reports; `tpobench report` draws them of any results.\n"]
    for report in sorted((ROOT / "results").glob("*/**/*.md"), key=lambda path: (path.name == "league.md", path)):
        figures = FIGURE.findall(report.read_text(encoding="utf-8"))[:IN_GALLERY]
        where = report.parent.relative_to(ROOT).as_posix()
        if figures and "reproduction" not in where:
            parts.append(f"\n## {report.parent.name}\n\n[All of it](../{where}/{report.name})\n\n{GRID}\n")
            parts += [
                f"<figure markdown>\n![{text}](../{where}/{path})\n<figcaption>{text}</figcaption>\n</figure>\n"
                for path, text in figures
            ]
            parts.append("</div>\n")
    return "\n".join(parts)


API = """# Python reference

[In Python and in notebooks](python.md) has examples that a test runs.  `import tpobench` has every name below.

## Look and judge

::: tpobench.api
    options:
      show_root_heading: false
      show_root_toc_entry: false
      members: [load_table, compare, audit, power, league, report]

::: tpobench.report.write_report

::: tpobench.tables.readable.Readable

## Train

::: tpobench.suites.load.load_suite

::: tpobench.planning.plan.plan_runs

::: tpobench.execution.engine.execute

::: tpobench.records.results.load_results

::: tpobench.records.results.Results

## Your own

::: tpobench.algorithms.catalog.register

::: tpobench.algorithms.algorithm.Algorithm

::: tpobench.tasks.catalog.register_task

::: tpobench.suites.load.register_suite

## What the answers hold

::: tpobench.audit.words.Audit

::: tpobench.audit.outcomes.Outcome

::: tpobench.audit.outcomes.PairTest

::: tpobench.comparison.Compared

::: tpobench.comparison.detection.Detections

::: tpobench.league.ranking.Ranking

::: tpobench.stats.compare.Comparison

::: tpobench.stats.estimate.Estimate

## Errors

::: tpobench.errors
    options:
      show_root_heading: false
      show_root_toc_entry: false
"""
