"""Bounds that a seed gives nodes instead of the shipped ones, so that what is long and rare happens soon and often."""

from __future__ import annotations

from dynatwist.core import Core

from .plan import Plan

FOUND_ALONE_AFTER_S = 120.0
"""The lowest seed founds alone after a while; here longer than anybody is cut off: a second cluster is a mistake."""

NAMED_S = 6.0
"""For so long deletes remember named writes: longer than clients of `dynatwist.sim.agreed` send a write again, and are
answered."""


def give_bounds(core: Core, plan: Plan) -> None:
    """Let a node go by the bounds of a plan; to be called before it starts."""
    core.folder.saver.bound(plan.least_log_bytes)
    if plan.in_small_steps:
        core.folder.saver.go_in_steps(slice_records=2, chunk_bytes=1000)
        core.repair.answers.bound(400, core.repair.answers.page_records)
        core.repair.cell_pages.bound(400, 3)
        core.repair.hints.bound(2, core.repair.hints.batch_bytes)
        core.cluster.bound(3, core.cluster.answer_bytes)
    plan.sizes.give(core)
    core.hub.bound(plan.feeds)
    core.relays.keep_interest(plan.interest_s)
    if plan.is_busy:
        core.intake.bound(0.0)
    core.store.bound(plan.exact_creations)
    core.repair.tombstones.bound(NAMED_S)
    core.registrar.bound(FOUND_ALONE_AFTER_S)
