"""Agreement, who is a member, and the cluster's secrets."""

from __future__ import annotations

from typing import Literal

from dynatwist.model.registry import Member, Registry
from dynatwist.replication.paxos import Ballot, Vote

from .base import Message


class Join(Message, frozen=True, tag=26):
    """Make me a member. Reply `Done`, `Unable` or `Refused`; the registry follows by itself.

    :ivar secrets: names of the cluster secrets that the sender accepts; releases of before do not say.
    """

    member: Member
    replicas: int
    secrets: tuple[str, ...] = ()


class Prepare(Message, frozen=True, tag=27):
    """Paxos: promise this ballot. Reply `Voted`, or `StaleRegistry`, or `Unable`."""

    registry: int
    slot: str
    ballot: Ballot


class Accept(Message, frozen=True, tag=28):
    """Paxos: accept this value. Reply like `Prepare`."""

    registry: int
    slot: str
    ballot: Ballot
    value: bytes


class Voted(Message, frozen=True, tag=29):
    """Reply: the vote held now, durably."""

    vote: Vote


class RegistryIs(Message, frozen=True, tag=30):
    """The newest registry, one-way; sent before anything that goes by it."""

    registry: Registry


class Settle(Message, frozen=True, tag=34):
    """Has the registry change of this version been completed on your part? Reply `Done` or `Unable`."""

    registry: int


class Rekey(Message, frozen=True, tag=42):
    """One step of a change of the cluster's secrets; see `dynatwist.storage.keyring`. Reply `KeysAre`, or `Unable`.

    :ivar step: ``install``, ``use``, ``retire``, or empty to ask only.
    :ivar secret: to be installed.
    :ivar name: of the secret to be used, or to be left.
    :ivar now_s: seconds since 1970.
    :ivar tokens_s: for how long users' tokens from retired secrets are good.
    :ivar turn: whose it is; a step of an earlier one is refused. 0 to ask without one.
    """

    registry: int
    step: Literal["", "install", "use", "retire"] = ""
    secret: bytes = b""
    name: str = ""
    now_s: int = 0
    tokens_s: int = 0
    turn: int = 0


class KeysAre(Message, frozen=True, tag=43):
    """The names of the secrets that the sender accepts, the one that it uses first."""

    names: tuple[str, ...]
