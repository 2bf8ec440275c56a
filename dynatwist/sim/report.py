"""What came of a seed."""

from __future__ import annotations

from dataclasses import dataclass, field

from .plan import Plan


@dataclass(slots=True)
class Report:
    """See the module.

    :ivar violations: empty when every promise was kept.
    :ivar excused: acknowledged writes that are gone, and nobody's fault; see `dynatwist.sim.oracle`.
    :ivar struck: how often each fault happened.
    :ivar reached: the rare states that the code was in; see `dynatwist.sometimes`.
    """

    seed: int
    plan: Plan
    violations: list[str] = field(default_factory=list)
    acknowledged: int = 0
    excused: int = 0
    races: int = 0
    virtual_s: float = 0.0
    events: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
