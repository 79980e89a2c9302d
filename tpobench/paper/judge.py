"""Claims against the runs: one guarded test per comparison, one p per claim, Holm over the claims of the item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tpobench.paper.claim import Claim
from tpobench.paper.design import NoSuchCell
from tpobench.paper.evidence import Evidence, NotRun
from tpobench.paper.questions import Question, Term, questions
from tpobench.paper.sample import Sample, sample
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import PAIRED, compare_samples, pairing
from tpobench.scores.sides import Entry, Key
from tpobench.stats.compare import RANKS, Comparison, adjust, compare
from tpobench.stats.multiplicity import holm, partial_conjunction, resamples_for

ALPHA = 0.05
Verdict = Literal["holds", "points the same way", "undecided", "contradicted", "not run"]


@dataclass(frozen=True)
class Answer:
    """One comparison, low against high, smaller is as the claim has it; no `found` where it could not be made."""

    suite: str
    text: str
    where: str
    found: Comparison | None = None
    reason: str = ""
    scale: float = 1.0  # 100 where shares are shown in percent
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of the claimed order."""
        return order(self.found) if self.found is not None else "not run"


@dataclass(frozen=True)
class Judged:
    """A claim with its comparisons, and the p of all of them together."""

    claim: Claim
    answers: tuple[Answer, ...]
    reason: str = ""  # why there is nothing to compare
    p: float | None = None  # of "not all (but the spare ones) are as claimed"
    adjusted: float | None = None  # by Holm over the claims of the item

    @property
    def verdict(self) -> Verdict:
        """Of all comparisons together."""
        found = [a.verdict for a in self.answers]
        if not found:
            return "not run"
        if self.claim.similar:
            return _similar(self.answers)
        return together(found, self.claim.spare, proven=self.adjusted is not None and self.adjusted < ALPHA)

    @property
    def counts(self) -> str:
        """`8 as claimed (6 significant alone), 1 undecided, 1 contradicted`."""
        found = Counter(a.verdict for a in self.answers)
        alone, same = found.pop("holds", 0), found.pop("points the same way", 0)
        texts = [f"{alone + same} as claimed ({alone} significant alone)"] if alone + same else []
        return ", ".join(texts + [f"{n} {verdict}" for verdict, n in sorted(found.items())])


def order(found: Comparison) -> Verdict:
    """Whether the low side is lower, and whether the seeds can tell."""
    verdict = found.verdict(ALPHA)
    if verdict in {"better", "worse"}:
        return "holds" if verdict == "better" else "contradicted"
    return "points the same way" if _lower(found) else "undecided"


def _lower(found: Comparison) -> bool:
    """Whether the low side is the lower one, in what the test compares."""
    if found.test in RANKS and found.better is not None:
        return found.better > 0.5
    return found.difference is not None and found.difference < 0


def together(found: Sequence[Verdict], spare: int = 0, *, proven: bool) -> Verdict:
    """One verdict for comparisons of which all but `spare` must come out as claimed.

    contradicted: more than `spare` are significant the other way.  not run: otherwise, where any is missing.
    holds: the claim as a whole is `proven`.  points the same way: all but `spare` do at least that.
    """
    if found.count("contradicted") > spare:
        return "contradicted"
    if "not run" in found:
        return "not run"
    if proven:
        return "holds"
    agreeing = found.count("holds") + found.count("points the same way")
    return "points the same way" if len(found) - agreeing <= spare else "undecided"


def _similar(answers: Sequence[Answer]) -> Verdict:
    """Of a claim of no difference, which no test can prove: one that is found contradicts it."""
    if any(a.found is None for a in answers):
        return "not run"
    return "contradicted" if any(a.verdict in {"holds", "contradicted"} for a in answers) else "undecided"


def judge(claims: Sequence[Claim], evidence: Mapping[str, Evidence]) -> tuple[Judged, ...]:
    """All claims of an item.

    A claim needs all its comparisons (but the spare ones), so it is shown by the largest of their p: no adjustment is
    due within it, Holm over the claims of the item is due between them. That one comparison goes the other way is
    enough against a claim, so there Holm runs over all comparisons of the item.
    """
    asked = [_asked(claim, evidence) for claim in claims]
    family = sum(len(found) for found, _ in asked)
    resamples = resamples_for(family, ALPHA)
    raw = [[_answer(q, evidence[s], resamples) for s, q in found] for found, _ in asked]
    whole = [_claim_p(claim, answers) for claim, answers in zip(claims, raw, strict=True)]
    keyed = {(str(i), str(j)): a for i, answers in enumerate(raw) for j, a in enumerate(answers)}
    adjusted = adjust({k: a.found for k, a in keyed.items() if a.found is not None}, ALPHA)
    for k, found in adjusted.items():
        tested = found.status == "untestable" and found.p is not None
        alone = "on its own, " if tested else ""  # the claim may hold all the same
        keyed[k] = replace(keyed[k], found=found, reason=alone + found.reason)
    return tuple(
        Judged(claim, tuple(keyed[str(i), str(j)] for j in range(len(raw[i]))), reason, p, q)
        for i, (claim, (_, reason), p, q) in enumerate(zip(claims, asked, whole, holm(whole), strict=True))
    )


def _claim_p(claim: Claim, answers: Sequence[Answer]) -> float | None:
    """Of the claim as a whole; none where a comparison is missing, or where no test can show what is claimed."""
    found = [a.found for a in answers if a.found is not None]
    if claim.similar or len(found) < len(answers) or len(found) <= claim.spare:
        return None
    directed = [1.0 if c.p is None or not _lower(c) else c.p for c in found]
    return partial_conjunction(directed, len(directed) - claim.spare)


def _asked(claim: Claim, evidence: Mapping[str, Evidence]) -> tuple[list[tuple[str, Question]], str]:
    """Questions with their suites, each once; or why there is none at this scale."""
    found: dict[str, tuple[str, Question]] = {}
    try:
        for contrast in claim.contrasts:
            if contrast.suite not in evidence:
                return [], f"there is no suite {contrast.suite}"
            own = evidence[contrast.suite]
            for question in questions(contrast, own.plan.suite):
                settled = _settled(question, own)
                found.setdefault(str((contrast.suite, settled.low, settled.high)), (contrast.suite, settled))
    except NoSuchCell as reason:
        return [], str(reason)
    return list(found.values()), claim.why_not


def _settled(question: Question, evidence: Evidence) -> Question:
    """The question without the matching, where it changes neither side."""
    terms = (question.low, question.high)
    try:
        places = [_place(t, t.rule, evidence) for t in terms if t.cell is not None]
        places += [_place(t, t.minus, evidence) for t in terms if t.minus]
    except NotRun:
        return question
    if any(place.matching != "any" for place in places):
        return question
    low, high = (
        t if t.cell is None else replace(t, cell={k: v for k, v in t.cell.items() if k != "matching"}) for t in terms
    )
    return Question(question.suite, low, high)


def _place(term: Term, rule: str, evidence: Evidence) -> Key:
    return evidence.place(rule, *_cell_and_matching(term))


def _entry(term: Term, rule: str, evidence: Evidence) -> Entry:
    return evidence.entry(rule, *_cell_and_matching(term))


def _cell_and_matching(term: Term) -> tuple[dict[str, Any], str]:
    cell = dict(term.cell or {})
    matching = str(cell.pop("matching", ""))
    return cell, matching


def _answer(question: Question, evidence: Evidence, resamples: int) -> Answer:
    try:
        found = _compared(question.low, question.high, evidence, resamples)
        notes = _notes(question, evidence)
    except NotRun as reason:
        return Answer(question.suite, question.text, question.where, None, str(reason))
    return Answer(question.suite, question.text, question.where, found, found.reason, _scale(question, evidence), notes)


def _notes(question: Question, evidence: Evidence) -> tuple[str, ...]:
    rules = [(t, rule) for t in (question.low, question.high) for rule in (t.rule, t.minus) if rule]
    short = [evidence.shortfall(_place(t, rule, evidence)) for t, rule in rules]
    return tuple(dict.fromkeys(note for note in short if note))


def _scale(question: Question, evidence: Evidence) -> float:
    """Errors are shares and shown in percent."""
    scalar = (question.high if question.low.constant is not None else question.low).scalar
    metric = scalar.metric or evidence.plan.suite.report.metric
    return 100.0 if metric == "error" and scalar.kind in {"final", "area", "at", "late", "peak"} else 1.0


def _compared(low: Term, high: Term, evidence: Evidence, resamples: int) -> Comparison:
    if low.constant is not None or high.constant is not None:
        return _against_constant(low, high, evidence, resamples)
    a, b = _sampled(low, evidence), _sampled(high, evidence)
    paired = _paired(low, high, evidence, a, b)
    found = compare_samples(a, b, paired=paired, resamples=resamples)
    if found.difference is not None and (doubtful := _reversible(a, b, found.difference)):
        runs = sum(found.runs)
        reason = f"{doubtful} of {runs} differences are bounds, which could turn the order: no test"
        return replace(found, status="untestable", reason=reason, p=None, difference=None, low=None, high=None,
                       better=None)  # fmt: skip
    return found


def _reversible(low: Sample, high: Sample, difference: float) -> int:
    """Seeds whose differences of times are bounds (one rule never got there) on the side that could turn the order.

    The others lie further along the found order than their bounds say, so a test of the bounds is on the safe side.
    """
    return len(low.at_least | high.at_most) if difference < 0 else len(low.at_most | high.at_least)


def _against_constant(low: Term, high: Term, evidence: Evidence, resamples: int) -> Comparison:
    """A scalar against a number: sign flips of its distance from it."""
    term, constant = (high, low.constant) if low.constant is not None else (low, high.constant)
    values = list(_sampled(term, evidence).values.values())
    against = [float(constant or 0.0)] * len(values)
    pair = (against, values) if low.constant is not None else (values, against)
    return compare(*pair, rng=np.random.default_rng(SEED), paired=True, resamples=resamples)


def _sampled(term: Term, evidence: Evidence) -> Sample:
    """The scalars of one side, differences of rules taken seed by seed."""
    own = sample(_entry(term, term.rule, evidence), term.scalar)
    if not term.minus:
        budget = None if own.budget is None else own.budget * term.times
        return Sample({s: v * term.times for s, v in own.values.items()}, budget, own.diverged)
    other = sample(_entry(term, term.minus, evidence), term.scalar)
    x, y = ({s: _censored(v, side.budget) for s, v in side.values.items()} for side in (own, other))
    never, never_other = (
        frozenset(s for s, v in side.values.items() if side.budget is not None and v > side.budget)
        for side in (own, other)
    )
    values = {s: (x[s] - y[s]) * term.times for s in x if s in y}
    return Sample(values, at_least=never, at_most=never_other)


def _censored(value: float, budget: float | None) -> float:
    return value if budget is None else min(value, budget)


def _paired(low: Term, high: Term, evidence: Evidence, x: Sample, y: Sample) -> bool:
    """Two scalars of the same runs always are; two arms by the design."""
    a, b = _entry(low, low.rule, evidence), _entry(high, high.rule, evidence)
    if a is b and low.minus == high.minus:
        return True
    return pairing(a.arm, b.arm, common=len(x.values.keys() & y.values.keys())) == PAIRED
