"""The scorecards of all items -> the tables and figures of docs/reproduction.md.

python benchmarks/reproduction_page.py [--results results] [--docs docs/reproduction.md]

Reads what `tpobench reproduce all --no-run` wrote at both scales into RESULTS/reproduction.  Without --docs it prints.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from documents import markdown, page_command

from tpobench.paper.claim_verdicts import CLAIM_VERDICTS as CLAIMS
from tpobench.paper.items import ITEMS
from tpobench.paper.number_verdicts import NUMBER_VERDICTS as NUMBERS
from tpobench.paper.scorecards.texts import counted
from tpobench.suites.load import SCALES, scaled
from tpobench.tables.markdown import md_escape

BEGIN, END = "<!-- scorecard: made by benchmarks/reproduction_page.py -->", "<!-- end of scorecard -->"
LEFT = "---"  # cells are words, or several numbers in one
Card = Mapping[str, Any]


def cards_of(folder: Path) -> dict[str, dict[str, Card]]:
    """Item -> scale -> scorecard."""
    cards: dict[str, dict[str, Card]] = {}
    for item in ITEMS:
        paths = {scale: folder / f"{scaled(item, scale)}.json" for scale in SCALES}
        cards[item] = {s: json.loads(p.read_text(encoding="utf-8")) for s, p in paths.items() if p.is_file()}
    return cards


def tally(card: Card | None, kind: str, verdicts: Sequence[str]) -> str:
    """`6 / 0 / 0 / 2` in the order of the verdicts; blank where there is nothing to judge."""
    counts = Counter(card["counts"][kind] if card else {})
    return " / ".join(str(counts[v]) for v in verdicts) if any(counts[v] for v in verdicts) else ""


def summary(cards: Mapping[str, Mapping[str, Card]]) -> str:
    """One row per item."""
    rows = []
    for name, item in ITEMS.items():
        paper, quick = cards[name].get("paper"), cards[name].get("quick")
        rows.append([
            f"[{name}](#{name})", item.title, tally(paper, "numbers", NUMBERS), tally(paper, "computed", NUMBERS),
            tally(paper, "claims", CLAIMS), tally(quick, "claims", CLAIMS),
        ])  # fmt: skip
    total = ["all", ""]
    for _, counts, verdicts in totals(cards):
        total.append(" / ".join(str(counts[v]) for v in verdicts))
    head = ["item", "what", "numbers, paper scale", "computed", "claims, paper scale", "claims, quick scale"]
    return markdown(head, [*rows, total], LEFT)


def totals(cards: Mapping[str, Mapping[str, Card]]) -> list[tuple[str, Counter[str], Sequence[str]]]:
    """Of all items: what is counted, how often each verdict, and the verdicts in their order."""
    columns = (
        ("Printed numbers at the scale of the paper", "paper", "numbers", NUMBERS),
        ("Computed without runs", "paper", "computed", NUMBERS),
        ("Claims at the scale of the paper", "paper", "claims", CLAIMS),
        ("Claims at the quick scale", "quick", "claims", CLAIMS),
    )
    return [
        (name, sum((Counter(c[scale]["counts"][kind]) for c in cards.values() if scale in c), Counter[str]()), verdicts)
        for name, scale, kind, verdicts in columns
    ]


def seeds_text(card: Card | None) -> str:
    """`mnist 20, terminal_reward 10`: seeds behind a scorecard."""
    return ", ".join(f"{s['name']} {len(s['seeds'])}" for s in (card or {}).get("suites", []) if s["seeds"])


def claims_table(cards: Mapping[str, Card]) -> str:
    """Every claim with its verdict at both scales."""
    verdicts = {scale: {c["text"]: c for c in card["claims"]} for scale, card in cards.items()}
    texts = list(dict.fromkeys(text for verdict_of in verdicts.values() for text in verdict_of))
    rows = [[md_escape(text), *(_verdict(verdicts.get(scale, {}).get(text)) for scale in SCALES)] for text in texts]
    return markdown(["claim of the paper", "paper scale", "quick scale"], rows, LEFT)


def _verdict(claim: Card | None) -> str:
    if claim is None:
        return ""
    return f"**{claim['verdict']}**" if claim["verdict"] == "contradicted" else str(claim["verdict"])


def compared(card: Card | None, page: Path) -> list[str]:
    """How many printed numbers agree at the scale of the paper, and those that could be compared, in a table."""
    tallies = (card or {}).get("counts", {})
    counts, computed = (Counter(tallies.get(kind, {})) for kind in ("numbers", "computed"))
    if not any((counts + computed)[v] for v in NUMBERS if v != "not run"):
        return []
    sentences = [f"Printed numbers at the scale of the paper: {counted(counts, NUMBERS)}"] if counts else []
    sentences += [f"Computed without runs: {counted(computed, NUMBERS)}"] if computed else []
    link = f"All of them: [{page.name}](../results/reproduction/{page.name})"
    lines = page.read_text(encoding="utf-8").split("### Printed numbers", 1)[1].strip("\n").split("\n\n")[0].split("\n")
    return [". ".join([*sentences, link]) + ".", "", *(line for line in lines if "| not run |" not in line), ""]


def section(name: str, cards: Mapping[str, Card], folder: Path) -> str:
    """One item."""
    item = ITEMS[name]
    lines = [f"### {name}", "", f"**{item.title}** (section {item.section})", ""]
    seeds = [f"{scale} scale: {text}" for scale in SCALES if (text := seeds_text(cards.get(scale)))]
    numbers = compared(cards.get("paper"), folder / f"{name}.md")
    without = "Computed from algorithms and suites, without runs." if numbers else "Not run."
    lines += [f"Seeds: {'; '.join(seeds)}." if seeds else without, "", *numbers]
    if any(card["claims"] for card in cards.values()):
        lines += [claims_table(cards), ""]
    for stem in (scaled(name, scale) for scale in SCALES):
        if (folder / "figures" / f"{stem}.png").is_file():
            caption = caption_of(folder / f"{stem}.md")
            lines += [f"![{stem}](../results/reproduction/figures/{stem}.png)", "", f"*{caption}*", ""]
    return "\n".join(lines)


def caption_of(page: Path) -> str:
    """The caption below the figure of an item's page, as Markdown."""
    caption = re.search(r"^!\[.*\]\(.*\)\n\n\*(.*)\*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return caption[1] if caption else ""


def page(results: Path) -> str:
    """Summary, then every item."""
    folder = results / "reproduction"
    cards = cards_of(folder)
    legend = (
        f"Numbers: {' / '.join(NUMBERS)}. Claims: {' / '.join(CLAIMS)}. Blank: nothing of the kind in this item, or no "
        "run of it at this scale."
    )
    sections = [section(name, cards[name], folder) for name in ITEMS]
    sentences = [f"{name}: {counted(counts, verdicts)}." for name, counts, verdicts in totals(cards)]
    return "\n".join([" ".join(sentences), "", summary(cards), "", legend, "", *sections])


if __name__ == "__main__":
    page_command(__doc__, page, BEGIN, END)
