"""Claims against the runs: one guarded test per comparison, one p per claim, Holm over the claims of the item."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from tpobench.paper.claim import Claim
from tpobench.paper.evidence import Evidence, NotRun
from tpobench.paper.item_plans import NoSuchCell
from tpobench.paper.questions import Question, Term, questions
from tpobench.paper.sample import Sample, sample
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import PAIRED, compare_samples, pairing
from tpobench.scores.sides import ArmEntry, Key
from tpobench.stats.compare import RANKS, Comparison, adjust, compare
from tpobench.stats.equivalence import equivalence
from tpobench.stats.gate import MARGINS, CellEvidence, margin_value
from tpobench.stats.multiplicity import holm, partial_conjunction, resamples_for

ALPHA = 0.05
ClaimVerdict = Literal["holds", "points the same way", "undecided", "contradicted", "other settings", "not run"]
CLAIM_VERDICTS: tuple[str, ...] = get_args(ClaimVerdict)  # in reading order


@dataclass(frozen=True)
class ClaimComparison:
    """One comparison, low against high, smaller is as the claim has it; no `comparison` where it could not be made."""

    suite: str
    text: str
    where: str
    comparison: Comparison | None = None
    reason: str = ""
    scale: float = 1.0  # 100 where shares are shown in percent
    notes: tuple[str, ...] = ()
    margin: float | None = None  # of a claim of no difference: p of the comparison is of a difference beyond it
    within: float | None = None  # and this is p of no difference within it

    @property
    def verdict(self) -> ClaimVerdict:
        """Of the claimed order, or of the claimed equality."""
        if self.comparison is None:
            return "not run"
        return order(self.comparison) if self.margin is None else self._alike(self.comparison, self.margin)

    def _alike(self, comparison: Comparison, margin: float) -> ClaimVerdict:
        if self.within is not None and self.within < ALPHA:
            return "holds"
        if comparison.difference is not None and abs(comparison.difference) <= margin:
            return "points the same way"
        return "contradicted" if comparison.adjusted is not None and comparison.adjusted < ALPHA else "undecided"


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its comparisons, and the p of all of them together."""

    claim: Claim
    answers: tuple[ClaimComparison, ...]
    reason: str = ""  # why there is nothing to compare
    p: float | None = None  # of "not all (but the spare ones) are as claimed"
    adjusted: float | None = None  # by Holm over the claims of the item

    @property
    def verdict(self) -> ClaimVerdict:
        """Of all comparisons together."""
        verdicts = [a.verdict for a in self.answers]
        if not verdicts:
            return "not run"
        proven = self.adjusted is not None and self.adjusted < ALPHA
        verdict = together(verdicts, self.claim.spare, proven=proven)
        return "other settings" if self.claim.elsewhere and verdict != "not run" else verdict

    @property
    def counts(self) -> str:
        """`8 as claimed (6 significant alone), 1 undecided, 1 contradicted`."""
        counts = Counter(a.verdict for a in self.answers)
        alone, same = counts.pop("holds", 0), counts.pop("points the same way", 0)
        texts = [f"{alone + same} as claimed ({alone} significant alone)"] if alone + same else []
        return ", ".join(texts + [f"{n} {verdict}" for verdict, n in sorted(counts.items())])


def order(comparison: Comparison) -> ClaimVerdict:
    """Whether the low side is lower, and whether the seeds can tell."""
    verdict = comparison.verdict(ALPHA)
    if verdict in {"better", "worse"}:
        return "holds" if verdict == "better" else "contradicted"
    return "points the same way" if _lower(comparison) else "undecided"


def _lower(comparison: Comparison) -> bool:
    """Whether the low side is the lower one, in what the test compares."""
    if comparison.test in RANKS and comparison.better is not None:
        return comparison.better > 0.5
    return comparison.difference is not None and comparison.difference < 0


def together(verdicts: Sequence[ClaimVerdict], spare: int = 0, *, proven: bool) -> ClaimVerdict:
    """One verdict for comparisons of which all but `spare` must come out as claimed.

    contradicted: more than `spare` are significant the other way.  not run: otherwise, where any is missing.
    holds: the claim as a whole is `proven`.  points the same way: all but `spare` do at least that.
    """
    if verdicts.count("contradicted") > spare:
        return "contradicted"
    if "not run" in verdicts:
        return "not run"
    if proven:
        return "holds"
    agreeing = verdicts.count("holds") + verdicts.count("points the same way")
    return "points the same way" if len(verdicts) - agreeing <= spare else "undecided"


def judge(claims: Sequence[Claim], evidence: Mapping[str, Evidence]) -> tuple[JudgedClaim, ...]:
    """All claims of an item.

    A claim needs all its comparisons (but the spare ones), so it is shown by the largest of their p: no adjustment is
    due within it, Holm over the claims of the item is due between them. That one comparison goes the other way is
    enough against a claim, so there Holm runs over all comparisons of the item.
    """
    asked = [_asked(claim, evidence) for claim in claims]
    family = sum(len(several) for several, _ in asked)
    resamples = resamples_for(family, ALPHA)
    raw = [
        [_answer(q, evidence[s], resamples, similar=claim.similar) for s, q in several]
        for claim, (several, _) in zip(claims, asked, strict=True)
    ]
    whole = [_claim_p(claim, answers) for claim, answers in zip(claims, raw, strict=True)]
    keyed = {(str(i), str(j)): a for i, answers in enumerate(raw) for j, a in enumerate(answers)}
    adjusted = adjust({k: a.comparison for k, a in keyed.items() if a.comparison is not None}, ALPHA)
    for k, comparison in adjusted.items():
        # The claim may hold where one of its comparisons could not reject.
        alone = "on its own, " if comparison.status == "untestable" and comparison.p is not None else ""
        keyed[k] = replace(keyed[k], comparison=comparison, reason=alone + comparison.reason)
    return tuple(
        JudgedClaim(claim, tuple(keyed[str(i), str(j)] for j in range(len(raw[i]))), reason, p, q)
        for i, (claim, (_, reason), p, q) in enumerate(zip(claims, asked, whole, holm(whole), strict=True))
    )


def _claim_p(claim: Claim, answers: Sequence[ClaimComparison]) -> float | None:
    """Of the claim as a whole; none where a comparison is missing."""
    if any(a.comparison is None for a in answers) or len(answers) <= claim.spare:
        return None
    return partial_conjunction([_as_claimed(a) for a in answers], len(answers) - claim.spare)


def _as_claimed(answer: ClaimComparison) -> float:
    """p of one comparison in favour of the claim."""
    if answer.margin is not None:
        return 1.0 if answer.within is None else answer.within
    c = answer.comparison
    return 1.0 if c is None or c.p is None or not _lower(c) else c.p


def _asked(claim: Claim, evidence: Mapping[str, Evidence]) -> tuple[list[tuple[str, Question]], str]:
    """Questions with their suites, each once; or why there is none at this scale."""
    asked: dict[str, tuple[str, Question]] = {}
    try:
        for contrast in claim.contrasts:
            if contrast.suite not in evidence:
                return [], f"there is no suite {contrast.suite}"
            suite = evidence[contrast.suite]
            for question in questions(contrast, suite.plan.suite):
                settled = _settled(question, suite)
                asked.setdefault(str((contrast.suite, settled.low, settled.high)), (contrast.suite, settled))
    except NoSuchCell as reason:
        return [], str(reason)
    return list(asked.values()), claim.why_not


def _settled(question: Question, evidence: Evidence) -> Question:
    """The question without the matching, where it changes neither side."""
    terms = (question.low, question.high)
    try:
        places = [_place(t, t.algorithm, evidence) for t in terms if t.cell is not None]
        places += [_place(t, t.minus, evidence) for t in terms if t.minus]
    except NotRun:
        return question
    if any(place.matching != "any" for place in places):
        return question
    low, high = (
        t if t.cell is None else replace(t, cell={k: v for k, v in t.cell.items() if k != "matching"}) for t in terms
    )
    return Question(question.suite, low, high)


def _place(term: Term, algorithm: str, evidence: Evidence) -> Key:
    return evidence.place(algorithm, *_cell_and_matching(term))


def _entry(term: Term, algorithm: str, evidence: Evidence) -> ArmEntry:
    return evidence.entry(algorithm, *_cell_and_matching(term))


def _cell_and_matching(term: Term) -> tuple[dict[str, Any], str]:
    cell = dict(term.cell or {})
    matching = str(cell.pop("matching", ""))
    return cell, matching


def _answer(question: Question, evidence: Evidence, resamples: int, *, similar: bool) -> ClaimComparison:
    text = question.text.replace(" < ", " = ") if similar else question.text
    asked = (question.suite, text, question.where)
    try:
        comparison, notes = _compared(question.low, question.high, evidence, resamples), _notes(question, evidence)
        scale = _scale(question, evidence)
        answer = ClaimComparison(*asked, comparison, comparison.reason, scale, notes)
        return _equivalent(answer, question, evidence, resamples) if similar else answer
    except NotRun as reason:
        return ClaimComparison(*asked, reason=str(reason))


def _equivalent(answer: ClaimComparison, question: Question, evidence: Evidence, resamples: int) -> ClaimComparison:
    """With the tests of a difference within and beyond the gate's margin of errors, relative to the high side.

    Raises:
        NotRun: of other scalars there is no margin.
    """
    if answer.scale == 1.0 or answer.comparison is None:
        msg = f"no margin says which differences of {question.low.scalar} are small"
        raise NotRun(msg)
    a, b = (_sampled(t, evidence) for t in (question.low, question.high))
    paired = _paired(question.low, question.high, evidence, a, b)
    seeds = sorted(a.values.keys() & b.values.keys())
    x, y = ([s.values[k] for k in (seeds if paired else sorted(s.values))] for s in (a, b))
    margin = margin_value(CellEvidence(question.text, b.values, a.values, replace(MARGINS["error"], told=0.0)))
    tested = equivalence(x, y, margin, rng=np.random.default_rng(SEED), paired=paired, resamples=resamples)
    comparison = replace(answer.comparison, p=tested.beyond, test=tested.test)
    return replace(answer, comparison=comparison, margin=margin, within=tested.within)


def _notes(question: Question, evidence: Evidence) -> tuple[str, ...]:
    arms = [(t, name) for t in (question.low, question.high) for name in (t.algorithm, t.minus) if name]
    short = [evidence.shortfall(_place(t, name, evidence)) for t, name in arms]
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
    comparison = compare_samples(a, b, paired=paired, resamples=resamples)
    if comparison.difference is not None and (doubtful := _reversible(a, b, comparison.difference)):
        runs = sum(comparison.runs)
        reason = f"{doubtful} of {runs} differences are bounds, which could turn the order: no test"
        return replace(comparison, status="untestable", reason=reason, p=None, difference=None, low=None, high=None,
                       better=None)  # fmt: skip
    return comparison


def _reversible(low: Sample, high: Sample, difference: float) -> int:
    """Seeds whose differences of times are bounds (one arm never got there) on the side that could turn the order.

    The others lie further along in that order than their bounds say, so a test of the bounds is on the safe side.
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
    """The scalars of one side, differences of algorithms taken seed by seed."""
    side = sample(_entry(term, term.algorithm, evidence), term.scalar)
    if not term.minus:
        budget = None if side.budget is None else side.budget * term.times
        return Sample({s: v * term.times for s, v in side.values.items()}, budget, side.diverged)
    other = sample(_entry(term, term.minus, evidence), term.scalar)
    x, y = ({s: min(v, math.inf if one.budget is None else one.budget) for s, v in one.values.items()}
            for one in (side, other))  # fmt: skip
    never, never_other = (
        frozenset(s for s, v in one.values.items() if one.budget is not None and v > one.budget)
        for one in (side, other)
    )
    values = {s: (x[s] - y[s]) * term.times for s in x if s in y}
    return Sample(values, at_least=never, at_most=never_other)


def _paired(low: Term, high: Term, evidence: Evidence, x: Sample, y: Sample) -> bool:
    """Two scalars of the same runs always are; two arms by the design."""
    a, b = _entry(low, low.algorithm, evidence), _entry(high, high.algorithm, evidence)
    if a is b and low.minus == high.minus:
        return True
    return pairing(a.arm, b.arm, common=len(x.values.keys() & y.values.keys())) == PAIRED
