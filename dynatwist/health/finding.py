"""A finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding is meant: nothing to do; something to know; something that stops a node or loses a promise."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """See the module.

    :ivar check: what was looked at, in a word or two.
    :ivar text: how it is.
    :ivar advice: what to do about it; empty where it is well.
    """

    level: Level
    check: str
    text: str
    advice: str = ""


Findings = Iterator[Finding]


def ok(check: str, text: str) -> Finding:
    """It is well."""
    return Finding(Level.OK, check, text)


def warning(check: str, text: str, advice: str) -> Finding:
    """It works, and may not for long."""
    return Finding(Level.WARNING, check, text, advice)


def fault(check: str, text: str, advice: str) -> Finding:
    """A node cannot start so, or does not keep what it promises."""
    return Finding(Level.FAULT, check, text, advice)


def fault_said(check: str, line: str) -> Finding:
    """A fault in the words of the node's own checks: how it is, and what to do, with a semicolon between."""
    text, _, advice = line.partition("; ")
    return Finding(Level.FAULT, check, text, advice)


def has_fault(findings: Iterable[Finding]) -> bool:
    """Whether there is a fault among them."""
    return any(finding.level is Level.FAULT for finding in findings)
