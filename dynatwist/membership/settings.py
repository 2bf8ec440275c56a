"""The timing of the membership protocol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SwimSettings:
    """Timing.

    :ivar probe_interval_s: length of a probe period.
    :ivar probe_timeout_s: wait for a direct ack before others are asked.
    :ivar indirect_probes: k, how many are asked.
    :ivar suspicion_multiplier: a suspicion lasts this times log10(n + 1) times the probe interval, at least once it.
    :ivar push_pull_interval_s: between exchanges of the whole view with a random member.
    :ivar redial_interval_s: between calls to the dead and to seeds.
    :ivar payload_bytes: room in a packet.
    """

    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.4
    indirect_probes: int = 3
    suspicion_multiplier: float = 4.0
    push_pull_interval_s: float = 10.0
    redial_interval_s: float = 1.0
    payload_bytes: int = 1000
