"""What an answer says, compared with the record that it names by its ETag: value, version, time, owner, dots."""

from __future__ import annotations

from itertools import islice

import msgspec

from dynatwist.model.dots import actor_text
from dynatwist.model.record import Key, Record
from dynatwist.replication.request import etag

from .history import name_of
from .witness import Witness


class Shown(msgspec.Struct):
    """A record as clients see it."""

    value: msgspec.Raw
    vector_clock: dict[str, int]
    version: int
    timestamp: int
    etag: str
    owner: str = ""
    expires_at: int = 0
    superseded: bool = False


SHOWN = msgspec.json.Decoder(Shown)


class Answers:
    """See the module."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._tags: dict[Key, dict[str, Record]] = {}
        self._seen: dict[Key, int] = {}

    def named(self, key: Key, tag: str) -> Record | None:
        """The record of a key that has an ETag; nobody wrote it if there is none."""
        tags = self._tags.setdefault(key, {})
        known = self._witness.ledger.of(key)
        for one in islice(known.values(), self._seen.get(key, 0), None):
            other = tags.setdefault(etag(one.record), one.record)
            if other != one.record:
                self._witness.say(f"P5: {'/'.join(key)}: one ETag names {name_of(other)} and {name_of(one.record)}")
        self._seen[key] = len(known)
        found = tags.get(tag) or self._witness.ledger.proposed(key, tag)
        if found is None:
            self._witness.say(f"P6: {'/'.join(key)}: an answer has ETag {tag}, and nobody wrote that")
        return found

    def shown(self, key: Key, body: bytes, tag: str = "") -> Record | None:
        """The record that an answer shows.

        :param tag: the ETag in the answer's head, if it has one.
        """
        fields = SHOWN.decode(body)
        named = f'"{fields.etag}"'
        record = self.named(key, named)
        if record is None:
            return None
        told = bytes(fields.value), fields.version, fields.timestamp, fields.owner, fields.expires_at
        owner = record.owner.partition("#")[0] if not fields.superseded else ""
        true = record.value or b"null", record.version, record.stamp.ms, owner, record.expires_ms
        dots = fields.vector_clock.get(actor_text(record.dot.actor)) == record.dot.seq
        if fields.superseded:
            dots = not fields.vector_clock
        if told != true or not dots or (tag and tag != named):
            self._witness.say(f"P6: {'/'.join(key)}: {name_of(record)} is {true}, and shown as {body!r}")
        return record
