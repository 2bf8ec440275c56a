"""The timing of the membership protocol, and its parts that can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("awareness", "shortening", "buddy", "measured-timeouts")
"""The parts of Lifeguard, by the names that people use."""


@dataclass(frozen=True, slots=True)
class SwimSettings:
    """Timing, and what of Lifeguard (Dadgar et al., 2018) is on.

    :ivar probe_interval_s: length of a probe period.
    :ivar probe_timeout_s: wait for a direct ack before others are asked, at most; measured round trips shorten it. The
        ping is repeated then, and after twice that time, and so on, until the period is over.
    :ivar least_probe_timeout_s: what it is shortened to at most.
    :ivar indirect_probes: k, how many are asked.
    :ivar suspicion_multiplier: the shortest suspicion is this times log10(n + 1) times the probe interval, at least
        this times the interval.
    :ivar longest_suspicion: the longest, that of a single accuser, as a multiple of the shortest.
    :ivar confirmations: independent accusers beyond the first that make a suspicion as short as it gets.
    :ivar gossip_interval_s: between packets that only carry news.
    :ivar gossip_nodes: to how many members each time.
    :ivar exchange_interval_s: between comparisons of the view with others, at least.
    :ivar exchange_patience: so many of these intervals pass between comparisons while news is under way, which explains
        most differences.
    :ivar exchange_bytes_s: what a node spends on telling others of its view, bytes a second.
    :ivar redial_interval_s: between calls to the dead and to seeds.
    :ivar silence_s: who hears from nobody for so long cannot tell that others are dead, rather than itself cut off.
    :ivar lag_s: a timer this late says that this process is slow.
    :ivar max_awareness: the greatest local health score.
    :ivar max_down: dead members and members that left that are remembered; the oldest are forgotten beyond that.
    :ivar max_up: members that are up and known; beyond that only registered ones are taken in, one that is not goes.
    :ivar payload_bytes: room in a packet.
    :ivar random_probes: probe any member rather than the next in a shuffled round: SWIM's first version, to compare.
    :ivar awareness: local health: who misses answers, or is late itself, takes more time before it accuses others, and
        blames itself for what it slept through.
    :ivar shortening: suspicions begin long and shorten with each confirmation; else all are of the shortest kind.
    :ivar buddy: whoever is suspected hears of it with the next ping.
    :ivar link_pings: whoever does not answer a datagram is asked over its stream connection too.
    :ivar measured_timeouts: wait for an ack as measured round trips suggest.
    """

    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.4
    least_probe_timeout_s: float = 0.1
    indirect_probes: int = 3
    suspicion_multiplier: float = 1.7
    longest_suspicion: float = 6.0
    confirmations: int = 2
    gossip_interval_s: float = 0.1
    gossip_nodes: int = 3
    exchange_interval_s: float = 1.0
    exchange_patience: float = 5.0
    exchange_bytes_s: int = 65_536
    redial_interval_s: float = 1.0
    silence_s: float = 2.0
    lag_s: float = 0.1
    max_awareness: int = 8
    max_down: int = 4096
    max_up: int = 1 << 20
    payload_bytes: int = 1000
    random_probes: bool = False
    awareness: bool = True
    shortening: bool = True
    buddy: bool = True
    measured_timeouts: bool = True
    link_pings: bool = True
