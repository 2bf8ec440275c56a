"""What a hub keeps at most."""

from __future__ import annotations

from dataclasses import dataclass

from .announced import ANNOUNCED_BYTES
from .fans import HANDED_AT_ONCE, MAX_FAN_BYTES, MAX_FANS
from .subscription import QUEUE_BYTES, QUEUE_EVENTS
from .window import MOST_WINDOW_BYTES, WINDOW_EVENTS

REPLAYED_AT_ONCE = 32
"""Events told to a listener that comes back between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class HubBounds:
    """See the module.

    :ivar window_events: recent events, for listeners that come back.
    :ivar window_bytes: the same.
    :ivar announced_bytes: what is remembered of keys that were announced.
    :ivar fans: events that wait to be handed out, and again so many keys whose listeners are to be told that they lag.
    :ivar fan_bytes: the events that wait.
    :ivar queue_events: of one listener.
    :ivar queue_bytes: of one listener.
    :ivar at_once: listeners that an event is handed to between two looks at the clock.
    :ivar replayed: events that somebody who comes back is told between two looks at the clock.
    """

    window_events: int = WINDOW_EVENTS
    window_bytes: int = MOST_WINDOW_BYTES
    announced_bytes: int = ANNOUNCED_BYTES
    fans: int = MAX_FANS
    fan_bytes: int = MAX_FAN_BYTES
    queue_events: int = QUEUE_EVENTS
    queue_bytes: int = QUEUE_BYTES
    at_once: int = HANDED_AT_ONCE
    replayed: int = REPLAYED_AT_ONCE
