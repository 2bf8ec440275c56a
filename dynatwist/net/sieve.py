"""What arrives on a peer link is looked at once, before anybody goes by it: records with a flaw do not come in.

The others of the same message do. Whoever refused the whole message could be kept by one such record from ever
finishing a round. Pages of rounds and replicated writes are looked at where they are merged, since a page's last key
says where the next one begins, and a write is refused as a whole.
"""

from __future__ import annotations

from msgspec.structs import replace

from dynatwist.model.flaws import flaw_of, without_flaws

from .messages import AnyMessage, DotHeld, Fetched, Listening, Relay


def sifted(message: AnyMessage) -> tuple[AnyMessage, str]:
    """A message without the records that have a flaw, and one of the flaws; empty when it had none."""
    if isinstance(message, Fetched | Relay | Listening):
        records, flaw = without_flaws(message.records)
        return (replace(message, records=records), flaw) if flaw else (message, "")
    if isinstance(message, DotHeld) and message.written is not None:
        flaw = flaw_of(message.written)
        return (replace(message, written=None), flaw) if flaw else (message, "")
    return message, ""


SIFTED = frozenset({Fetched, Relay, Listening, DotHeld})
"""The kinds that `sifted` has something to do with."""
