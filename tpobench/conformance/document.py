"""Findings as a document, JSON and JUnit XML; the command line writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tpobench.algorithms.promises import PromiseResult
from tpobench.conformance.report import CaseResult, Findings, described, nearest_algorithm
from tpobench.tables.junit import JunitCase, junit_text
from tpobench.tables.model import PAGES, Block, Document, Lines, Table, TableCell, table_of
from tpobench.tables.terminal import Screen, terminal

SCHEMA = 1  # of the JSON
NAME = "tpobench conformance"  # of the JUnit suite
WORDS = {"kept": "kept", "broken": "BROKEN", "limited": "limited", "not reached": "not reached"}


def document_of(findings: Findings) -> Document:
    """The verdict, the parts, what parts it from the algorithm, batch by batch, and the invariances."""
    best = findings.best
    rows = described(best, findings.function) if best else []
    blocks: list[Block | None] = [
        Lines((findings.headline,), without=PAGES),
        table_of(("part", "what it computes", "equation"), rows, "parts", "What it computes") if rows else None,
        _lines([f"differs {_from(findings)}: {text}" for text in findings.differences], "bullet"),
        _lines(_not_told_apart(findings), "quote"),
        _lines(_nearest(findings), "quote"),
        _cases(findings.results) if findings.results else None,
        _promises(findings.promises),
        _lines(_notes(findings), "quote"),
    ]
    return Document(
        f"tpobench conformance: {findings.headline}",
        tuple(block for block in blocks if block is not None),
        as_json(findings),
        tuple(dataclasses.asdict(r) for r in findings.results) or None,
    )


def text_of(findings: Findings) -> str:
    """The document as a terminal shows it, without styles."""
    return terminal(document_of(findings), Screen(None))


def _from(findings: Findings) -> str:
    if findings.algorithm is not None:
        return f"from {findings.algorithm.name}"
    best = findings.best
    nearest = nearest_algorithm(best, findings.function) if best else None
    return f"from {nearest.name}" if nearest else "from these parts"


def _not_told_apart(findings: Findings) -> list[str]:
    others = findings.identity.matches[1:] if findings.identity else ()
    if not others:
        return []
    texts = [" x ".join(name for _, name, _ in described(m, findings.function)) for m in others]
    return [f"not told apart on the batches that it answers: {'; '.join(texts[:3])}"]


def _nearest(findings: Findings) -> list[str]:
    identity = findings.identity
    if identity is None or identity.known:
        return []
    lines = []
    if identity.value_of is not None:
        parts = " x ".join(name for _, name, _ in described(identity.value_of, findings.function))
        lines.append(
            f"its loss is that of {parts} on every batch, and its gradient is not: what that one holds constant (an "
            "advantage, a weight, old log-probs) is differentiated here, or the reverse; look for a missing .detach()"
        )
    near = [f"{p.credit.name} x {p.aggregation} x {p.fit.name} ({off:.0%} off)" for p, off in identity.nearest]
    return [*lines, f"{identity.tried:,} combinations were tried; nearest, none of them equal: {'; '.join(near)}"]


def _cases(results: Sequence[CaseResult]) -> Table:
    header = ("batch", "loss", "ours", "gradient off by", "cosine", "scale", "verdict")
    rows = tuple(
        (*map(TableCell, (r.name, f"{r.loss:.6g}", f"{r.ours:.6g}", f"{r.off:.1e}", f"{r.cosine:.6f}")),
         TableCell(f"{r.scale:.6g}"),
         TableCell(r.state if r.counts else f"{r.state} (told only)", alert=r.counts and r.state != "agrees"))
        for r in results
    )  # fmt: skip
    notes = tuple(f"{r.name}: {r.reason}" for r in results if r.reason)
    return Table("batches", "Batch by batch", header, rows, notes=notes)


def _promises(promises: Sequence[PromiseResult]) -> Table:
    rows = tuple(
        (TableCell(p.promise), TableCell(WORDS[p.state], alert=p.state == "broken"),
         TableCell("; ".join(f"{b.where} {b.what}" for b in p.breaches)))
        for p in promises
    )  # fmt: skip
    remedies = dict.fromkeys(f"{b.where}: {b.remedy}" for p in promises for b in p.breaches)
    return Table("invariances", "Invariances", ("invariance", "state", "what"), rows, notes=tuple(remedies))


def _notes(findings: Findings) -> list[str]:
    f = findings.function
    inputs = ", ".join(p if p == i else f"{p} = {i}" for p, i in f.inputs.items())
    notes = [f"handed over by name: {inputs}"]
    if f.handed_advantages:
        credit = "the algorithm's credit" if findings.algorithm else "group z-scores"
        form = "(N, T)" if f.form.by_token else "(N,)"
        notes.append(f"advantages are ours ({credit}), {form}: the loss alone is judged")
    if findings.unused:
        names = ", ".join(findings.unused)
        notes.append(f"not used, for changing it changes nothing: {names}")
    return [*notes, *([findings.single] if findings.single else [])]


def _lines(lines: Sequence[str], mark: Any) -> Lines | None:
    return Lines(tuple(lines), mark) if lines else None


# ---- JSON


def as_json(findings: Findings) -> dict[str, Any]:
    """One object with everything, at full precision."""
    algorithm, identity, function = findings.algorithm, findings.identity, findings.function
    return {
        "schema": SCHEMA,
        "function": function.name,
        "outcome": findings.outcome,
        "exit_code": findings.exit_code,
        "headline": findings.headline,
        "algorithm": None if algorithm is None else algorithm.name,
        "hyper": {} if algorithm is None else algorithm.hyperparameters,
        "inputs": function.inputs,
        "unused": list(findings.unused),
        "differences": list(findings.differences),
        "identity": None if identity is None else {
            "known": identity.known,
            "tried": identity.tried,
            "matches": [
                {
                    "parts": {part: {"name": name, "equation": text} for part, name, text in described(m, function)},
                    "algorithms": list(m.algorithms),
                    "factor": m.scale.factor,
                    "conventions": list(m.differences),
                }
                for m in identity.matches
            ],
            "value_of": None if identity.value_of is None else {
                part: name for part, name, _ in described(identity.value_of, function)
            },
            "nearest": [
                {"credit": p.credit.name, "aggregation": p.aggregation, "fit": p.fit.name, "off": off}
                for p, off in identity.nearest
            ],
        },
        "batches": [dataclasses.asdict(r) for r in findings.results],
        "invariances": [
            {"invariance": p.promise, "state": p.state, "breaches": [dataclasses.asdict(b) for b in p.breaches]}
            for p in findings.promises
        ],
    }  # fmt: skip


# ---- JUnit XML


def junit(findings: Findings) -> str:
    """A test case for each batch, or for the identification, and one for each invariance; limits are skipped."""
    place = f"tpobench.conformance.{findings.function.name}"
    cases = [_junit_batch(place, r) for r in findings.results]
    if findings.algorithm is None:
        known = findings.outcome == "identified"
        text = findings.headline
        cases.append(JunitCase(place, "identified", "" if known else "failure", "" if known else text, "unknown", text))
    cases += [_junit_promise(place, p) for p in findings.promises]
    return junit_text(NAME, cases, {"headline": findings.headline})


def junit_of_error(message: str, kind: str) -> str:
    """A function that could not be judged is one test case with an error."""
    return junit_text(NAME, [JunitCase("tpobench", "conformance", "error", message, kind, message)])


def _junit_batch(place: str, r: CaseResult) -> JunitCase:
    if r.state == "agrees":
        return JunitCase(place, r.name)
    message = r.reason or f"{r.state}: gradient off by {r.off:.2g}, cosine {r.cosine:.4f}, scale {r.scale:.4f}"
    if not r.counts:
        return JunitCase(place, r.name, "skipped", message)
    return JunitCase(place, r.name, "error" if r.state == "raises" else "failure", message, r.state, message)


def _junit_promise(place: str, p: PromiseResult) -> JunitCase:
    if not p.breaches:
        return JunitCase(place, p.promise)
    message = "; ".join(map(str, p.breaches))
    if p.state == "limited":
        return JunitCase(place, p.promise, "skipped", message)
    return JunitCase(place, p.promise, "failure", message, p.state, message)
