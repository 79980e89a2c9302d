"""What can be reproduced: each figure and table of the TPO paper with the suites behind it and its claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tpobench.errors import unknown
from tpobench.paper import claims_dense as dense
from tpobench.paper import claims_sparse as sparse
from tpobench.paper.claim import PROMPTS, Claim, Pick
from tpobench.paper.printed import Number, numbers


@dataclass(frozen=True)
class Part:
    """Runs that an item needs: algorithms and cells of a suite, all of them where nothing is named."""

    suite: str
    algorithms: tuple[str, ...] = ()
    cells: Mapping[str, Pick] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A figure or table of the paper."""

    name: str
    title: str
    section: str
    parts: tuple[Part, ...] = ()
    claims: tuple[Claim, ...] = ()

    @property
    def numbers(self) -> tuple[Number, ...]:
        """What it prints."""
        return tuple(n for n in numbers() if n.item == self.name)

    @property
    def suites(self) -> tuple[str, ...]:
        """That its runs and its settings are of."""
        named = (*(p.suite for p in self.parts), *(n.suite for n in self.numbers if n.suite))
        return tuple(dict.fromkeys(named))


IMAGES = ("tpo", *dense.IMAGE_RIVALS)
TOKENS = ("tpo_token", *dense.TOKEN_RIVALS)
TERMINAL = ("tpo", *sparse.RIVALS)
ONE_EPOCH = Part("epochs", ("tpo",), {"epochs": (1,)})  # a line of several figures
ALIASES = {"fig5": "table1", "fig6": "table2", "fig7": "table3", "fig16": "table5", "table4": "settings"}
ITEMS: Mapping[str, Item] = {
    item.name: item
    for item in (
        Item(
            "fig1", "Dense and sparse reward at a glance", "1",
            (Part("mnist", ("tpo", "grpo_batch", "dg")),
             Part("terminal_reward", ("tpo", "grpo", "dg"), {"length": "max", **PROMPTS})),
            dense.FIG1,
        ),
        Item("fig2", "One context, 100 arms", "3.1", (Part("bandit"),), dense.FIG2),
        Item("fig3", "100 contexts, exact updates", "3.2", (Part("contexts"),), dense.FIG3),
        Item("fig4a", "Images as a bandit: test error", "3.3", (Part("mnist", IMAGES),), dense.FIG4A),
        Item("fig4b", "Images as a bandit: surplus gain by concentration", "3.3", (Part("mnist", ("tpo", "dg")),),
             dense.FIG4B),
        Item("table1", "Token candidates by vocabulary (table 1, figure 5)", "3.4",
             (Part("tokens", TOKENS),), dense.TABLE1),
        Item("table2", "Target and reward variants (table 2, figure 6)", "3.5",
             (Part("variations", (*TOKENS, "tpo", "grpo", "grpo_no_kl")),),
             dense.TABLE2),
        Item("table3", "Terminal reward by length (table 3, figure 7)", "3.6",
             (Part("terminal_reward", TERMINAL),), sparse.TABLE3),
        Item("fig8", "TPO taken apart", "3.7",
             (Part("terminal_reward", ("tpo", "grpo", *sparse.ABLATIONS), sparse.FIG8_CELLS),),
             sparse.FIG8),
        Item("fig9", "Language models", "3.8", (Part("tiny_math", ("tpo", "grpo")),), sparse.FIG9),
        Item("fig10", "Gradient norms and weights", "4.1",
             (Part("why", ("tpo", "grpo", "ppo", "dg")), ONE_EPOCH), sparse.FIG10),
        Item("fig11", "Groups without a success", "4.2",
             (Part("why", TERMINAL), ONE_EPOCH), sparse.FIG11),
        Item("fig12", "Group size", "4.2", (Part("group_size"),), sparse.FIG12),
        Item("fig13", "Masking groups of equal rewards", "4.2", (Part("why", ("tpo", "grpo", "grpo_masked")),),
             sparse.FIG13),
        Item("fig14", "Several epochs against one", "4.3",
             (Part("epochs", ("tpo",), {"epochs": (1, 4)}), Part("why", ("tpo", "dg"))), sparse.FIG14),
        Item("fig15", "Number of epochs", "4.3", (Part("epochs"),), sparse.FIG15),
        Item("table5", "Temperature (table 5, figure 16)", "D", (Part("temperature"),), dense.TABLE5),
        Item("fig17", "DG with several epochs", "E",
             (Part("dg_epochs"), Part("variations", ("dg", "dg_multi_epoch"), PROMPTS)),
             sparse.FIG17),
        Item("settings", "What the paper trains with, and how it classifies TPO (table 4)", "2, 3, 5, F"),
    )
}  # fmt: skip


def chosen(names: Sequence[str]) -> list[Item]:
    """Items by name or alias, each once; all of them for `all` or none.

    Raises:
        UsageError: no such item.
    """
    if not names or "all" in names:
        return list(ITEMS.values())
    for name in names:
        if name not in ITEMS and name not in ALIASES:
            raise unknown("item", name, [*ITEMS, *ALIASES, "all"])
    return [ITEMS[name] for name in dict.fromkeys(ALIASES.get(name, name) for name in names)]
