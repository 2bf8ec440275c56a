"""What a table's settings say about who may do what, and what comes of that for one caller and one key.

Rules name *principals*: ``user:NAME``, ``group:NAME``, ``owner`` (of the record), ``*`` (anybody with a token) and
``anonymous`` (anybody). For one caller a rule comes down to a `Scope` for each right. The node that a request comes to
finds that out (`dynatwist.auth.rights`); what becomes of a record of which only an owner of its key knows whose it is,
that owner decides by the scope.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

USER, GROUP = "user:", "group:"
OWNER, ANY_TOKEN, ANONYMOUS = "owner", "*", "anonymous"
CALLER = "{user}"
"""In a prefix, it stands for the caller's name."""
RIGHTS = ("read", "create", "update", "delete")
WRITE, WRITES = "write", RIGHTS[1:]
"""The one stands for the others."""


class Scope(IntEnum):
    """Whose records a right is about."""

    NONE = 0
    OWN = 1
    """The caller's own."""
    ANY = 2

    def covers(self, owner: str, uid: str) -> bool:
        """Whether a record is among them.

        :param owner: of the record.
        :param uid: the caller's; empty for nobody.
        """
        return self is _ANY or (self is _OWN and owner == uid != "")


_OWN, _ANY = Scope.OWN, Scope.ANY  # an attribute of an enumeration takes as long as all the rest


class May(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What somebody may write under one key.

    :ivar create: where there is no record.
    :ivar update: put, patch or touch.
    """

    create: bool = True
    update: Scope = Scope.OWN
    delete: Scope = Scope.OWN


class Granted(msgspec.Struct, frozen=True, gc=False):
    """All that somebody may do with one key."""

    read: Scope
    may: May


NOTHING = Granted(Scope.NONE, May(False, Scope.NONE, Scope.NONE))
ALL = Granted(Scope.ANY, May(True, Scope.ANY, Scope.ANY))
OWN = May()
"""What a table without settings grants to anybody with a token."""


class Rule(msgspec.Struct, frozen=True):
    """Who has which right under the keys with a prefix."""

    prefix: str = ""
    read: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()


USUAL = Rule("", (OWNER,), (ANY_TOKEN,), (OWNER,), (OWNER,))
"""Of a table without settings."""
PUBLIC = Rule("", (ANONYMOUS, OWNER), (ANY_TOKEN,), (OWNER,), (OWNER,))
"""The same with ``--anonymous-read``."""
