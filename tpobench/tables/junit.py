"""JUnit XML: what continuous integration reads of any verdict."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tpobench.printable import printable_lines

Kind = Literal["", "failure", "error", "skipped"]


@dataclass(frozen=True)
class JunitCase:
    """A test case: where, what, and what became of it; `type` and `text` of one that did not pass."""

    place: str
    name: str
    kind: Kind = ""
    message: str = ""
    type: str = ""
    text: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


def junit_text(name: str, cases: Sequence[JunitCase], properties: Mapping[str, str] | None = None) -> str:
    """A document of one suite."""
    counts = {kind: str(sum(case.kind == kind for case in cases)) for kind in ("failure", "error", "skipped")}
    suite = ET.Element(
        "testsuite", name=name, tests=str(len(cases)), failures=counts["failure"], errors=counts["error"],
        skipped=counts["skipped"],
    )  # fmt: skip
    _add_properties(suite, properties)
    for case in cases:
        element = ET.SubElement(
            suite, "testcase", classname=printable_lines(case.place), name=printable_lines(case.name), time="0"
        )
        _add_properties(element, case.properties or None)
        if case.kind:
            result = ET.SubElement(element, case.kind, message=printable_lines(case.message))
            if case.type:
                result.set("type", case.type)
            if case.text:
                result.text = printable_lines(case.text)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_properties(element: ET.Element, properties: Mapping[str, str] | None) -> None:
    if properties is None:
        return
    inside = ET.SubElement(element, "properties")
    for name, value in properties.items():
        ET.SubElement(inside, "property", name=name, value=printable_lines(value))
