"""The scorecards of all items -> the tables and figures of docs/reproduction.md.

python benchmarks/reproduction_page.py [--results results] [--docs docs/reproduction.md]

Reads what `tpobench reproduce all --no-run` wrote at both scales into RESULTS/reproduction.  Without --docs it prints.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from documents import fill, markdown

from tpobench.report.markdown import md_escape
from tpobench.reproduce.items import ITEMS

BEGIN, END = "<!-- scorecard: made by benchmarks/reproduction_page.py -->", "<!-- end of scorecard -->"
SCALES = {"paper": "", "quick": "-quick"}
NUMBERS = ("agrees", "differs", "undecided", "not run")
CLAIMS = ("holds", "points the same way", "undecided", "contradicted", "not run")
LEFT = "---"  # cells are words, or several numbers in one
Card = Mapping[str, Any]


def cards_of(folder: Path) -> dict[str, dict[str, Card]]:
    """Item -> scale -> scorecard."""
    found: dict[str, dict[str, Card]] = {}
    for item in ITEMS:
        paths = {scale: folder / f"{item}{suffix}.json" for scale, suffix in SCALES.items()}
        found[item] = {s: json.loads(p.read_text(encoding="utf-8")) for s, p in paths.items() if p.is_file()}
    return found


def tally(card: Card | None, kind: str, verdicts: Sequence[str]) -> str:
    """`6 / 0 / 0 / 2` in the order of the verdicts; blank where there is nothing to judge."""
    counts = Counter(card["counts"][kind] if card else {})
    return " / ".join(str(counts[v]) for v in verdicts) if any(counts[v] for v in verdicts) else ""


def summary(cards: Mapping[str, Mapping[str, Card]]) -> str:
    """One row per item."""
    rows = []
    for name, item in ITEMS.items():
        paper, quick = cards[name].get("paper"), cards[name].get("quick")
        target = f"#{name}" if item.claims else f"../results/reproduction/{name}.md"
        rows.append([
            f"[{name}]({target})", item.title, tally(paper, "numbers", NUMBERS), tally(paper, "claims", CLAIMS),
            tally(quick, "claims", CLAIMS),
        ])  # fmt: skip
    total = ["all", ""]
    for scale, kind, verdicts in (
        ("paper", "numbers", NUMBERS),
        ("paper", "claims", CLAIMS),
        ("quick", "claims", CLAIMS),
    ):
        counts = sum((Counter(c[scale]["counts"][kind]) for c in cards.values() if scale in c), Counter[str]())
        total.append(" / ".join(str(counts[v]) for v in verdicts))
    head = ["item", "what", "numbers, paper scale", "claims, paper scale", "claims, quick scale"]
    return markdown(head, [*rows, total], LEFT)


def seeds_text(card: Card | None) -> str:
    """`mnist 20, terminal_reward 10`: seeds behind a scorecard."""
    return ", ".join(f"{s['name']} {len(s['seeds'])}" for s in (card or {}).get("suites", []) if s["seeds"])


def claims_table(cards: Mapping[str, Card]) -> str:
    """Every claim with its verdict at both scales."""
    verdicts = {scale: {c["text"]: c for c in card["claims"]} for scale, card in cards.items()}
    texts = list(dict.fromkeys(text for found in verdicts.values() for text in found))
    rows = [[md_escape(text), *(_verdict(verdicts.get(scale, {}).get(text)) for scale in SCALES)] for text in texts]
    return markdown(["claim of the paper", "paper scale", "quick scale"], rows, LEFT)


def _verdict(claim: Card | None) -> str:
    if claim is None:
        return ""
    return f"**{claim['verdict']}**" if claim["verdict"] == "contradicted" else str(claim["verdict"])


def differing(card: Card | None, page: str) -> list[str]:
    """The numbers that differ, in one line each, and where all of them are."""
    numbers = (card or {}).get("numbers", [])
    lines = []
    for n in numbers:
        if n["verdict"] == "differs":
            where = ", ".join(f"{k}={v}" for k, v in n["cell"].items()) or n["suite"]
            note = f" ({'; '.join(n['notes'])})" if n["notes"] else ""
            lines.append(f"- differs: {n['rule']}, {where}: printed {n['printed']['text']}, ours {shown(n)}{note}")
    counts = Counter(n["verdict"] for n in numbers)
    if sum(counts[v] for v in NUMBERS[:3]):
        told = ", ".join(f"{counts[v]} {v}" for v in NUMBERS if counts[v])
        lines.insert(
            0, f"Numbers at the scale of the paper: {told}; each of them in [{page}](../results/reproduction/{page}).\n"
        )
    return [md_escape(line) if line.startswith("- ") else line for line in lines]


def shown(number: Card) -> str:
    """Ours in the unit of the print, with the interval of as many other seeds."""
    p = number["prediction"]
    percent = number["statistic"].partition(":")[0] in {"final", "at"}
    scale, unit = (100.0, " %") if percent else (1.0, "")
    if p is None or p["low"] is None:
        return str(number["ours"])
    value = "never" if p["value"] is None else f"{scale * p['value']:.3g}"
    return f"{value} [{scale * p['low']:.3g}, {scale * p['high']:.3g}]{unit}"


def section(name: str, cards: Mapping[str, Card], folder: Path) -> str:
    """One item."""
    item = ITEMS[name]
    lines = [f"### {name}", "", f"**{item.title}** (section {item.section})", ""]
    told = [f"{scale} scale: {found}" for scale in SCALES if (found := seeds_text(cards.get(scale)))]
    lines += [f"Seeds: {'; '.join(told)}." if told else "Not run.", ""]
    if lines_of := differing(cards.get("paper"), f"{name}.md"):
        lines += [*lines_of, ""]
    if any(card["claims"] for card in cards.values()):
        lines += [claims_table(cards), ""]
    for suffix in SCALES.values():
        if (folder / "figures" / f"{name}{suffix}.png").is_file():
            caption = caption_of(folder / f"{name}{suffix}.md")
            lines += [f"![{name}{suffix}](../results/reproduction/figures/{name}{suffix}.png)", "", f"*{caption}*", ""]
    return "\n".join(lines)


def caption_of(page: Path) -> str:
    """The caption below the figure of an item's page, as Markdown."""
    found = re.search(r"^!\[.*\]\(.*\)\n\n\*(.*)\*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def page(results: Path) -> str:
    """Summary, then every item."""
    folder = results / "reproduction"
    cards = cards_of(folder)
    legend = (
        f"Numbers: {' / '.join(NUMBERS)}. Claims: {' / '.join(CLAIMS)}. Blank: nothing of the kind in this item, or no "
        "run of it at this scale."
    )
    sections = [section(name, cards[name], folder) for name, item in ITEMS.items() if item.claims]
    return "\n".join([summary(cards), "", legend, "", *sections])


def main() -> None:
    """Print the page, or put it into a document between its markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--docs", type=Path)
    arguments = parser.parse_args()
    text = page(arguments.results)
    if arguments.docs is None:
        print(text)
    else:
        fill(arguments.docs, BEGIN, END, text)


if __name__ == "__main__":
    main()
