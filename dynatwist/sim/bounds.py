"""Bounds that a seed gives nodes instead of the shipped ones, so that what is long and rare happens soon and often."""

from __future__ import annotations

from dynatwist.core import Core

from .plan import Plan

FOUND_ALONE_AFTER_S = 120.0
"""The lowest seed founds alone after a while; here longer than anybody is cut off: a second cluster is a mistake."""


def give_bounds(core: Core, plan: Plan) -> None:
    """Let a node go by the bounds of a plan; to be called before it starts."""
    core.folder.saver.least_log_bytes = plan.least_log_bytes
    if plan.in_small_steps:
        core.folder.saver.slice_records, core.folder.saver.chunk_bytes = 2, 1000
        core.repair.answers.page_bytes, core.repair.hints.batch = 400, 2
        core.cluster.step_records = 3
    plan.sizes.give(core)
    core.hub.bound(plan.feeds)
    core.relays.interest_s = plan.interest_s
    if plan.is_busy:
        core.intake.turn_s = 0.0
    core.store.exact_creations = plan.exact_creations
    core.registrar.found_without_majority_after_s = FOUND_ALONE_AFTER_S
