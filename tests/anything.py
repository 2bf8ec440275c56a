"""Messages filled with anything that decodes: what a member may send that has been taken over, or has a bug."""

from __future__ import annotations

import typing
from enum import Enum
from random import Random
from typing import Any

import msgspec
from msgspec import inspect

from dynatwist.net.messages import AnyMessage

KINDS = typing.get_args(AnyMessage)
INTEGERS = (0, 1, 2, 3, 7, 255, 256, 257, 1023, -1, -(1 << 63), (1 << 53) - 1, 1 << 53, (1 << 63) - 1, (1 << 64) - 1)
TEXTS = ("", "t", "k", "k1", "_users", "alice", "registry:", "registry:x", "registry:4", "\n", "\0", "ü", "x" * 2000)
BYTES = (b"", b"{}", b"[]", b"{", b"\xff", b'{"a":1e999}', b"a" * 8, b"a" * 16, b"\xc0", bytes(8192))


class Anything:
    """Makes values of types, from what was seen and from what is odd.

    :ivar seen: bytes that mean something to the receiver, such as node ids.
    """

    def __init__(self, random: Random, seen: list[bytes]) -> None:
        self.random = random
        self.seen = seen

    def message(self, *kinds: type[Any]) -> AnyMessage:
        """A message that decodes, of one of some kinds; of any when none is given."""
        while True:
            kind = self.random.choice(kinds or KINDS)
            packed = msgspec.msgpack.encode(self.value(inspect.type_info(kind)))
            try:
                return msgspec.msgpack.decode(packed, type=AnyMessage)
            except msgspec.MsgspecError:
                continue  # a number beyond what the kind may say

    def value(self, kind: Any) -> Any:
        """A value of a type, as msgpack has it."""
        random = self.random
        match kind:
            case inspect.IntType():
                some = [one for one in INTEGERS if kind.ge is None or kind.ge <= one < (kind.lt or 1 << 64)]
                return random.choice(some) if random.random() < 0.7 else random.randrange(300)
            case inspect.BoolType():
                return random.random() < 0.5
            case inspect.StrType():
                return random.choice(TEXTS)
            case inspect.BytesType() | inspect.RawType():
                if isinstance(kind, inspect.BytesType) and kind.min_length:
                    return random.choice((0, 1, 200)).to_bytes(kind.min_length - 2) + random.randbytes(2)
                return random.choice((*BYTES, *self.seen))
            case inspect.NoneType():
                return None
            case inspect.LiteralType():
                return random.choice(kind.values)
            case inspect.EnumType():
                return random.choice([one.value for one in typing.cast(type[Enum], kind.cls)])
            case inspect.UnionType():
                return self.value(random.choice(kind.types))
            case inspect.ListType() | inspect.VarTupleType():
                return [self.value(kind.item_type) for _ in range(random.choice((0, 1, 1, 2, 5, 20)))]
            case inspect.TupleType():
                return [self.value(one) for one in kind.item_types]
            case inspect.DictType():
                return {
                    key if not isinstance(key := self.value(kind.key_type), list) else tuple(key): self.value(
                        kind.value_type
                    )
                    for _ in range(random.choice((0, 1, 3)))
                }
            case inspect.NamedTupleType():
                return [self.value(field.type) for field in kind.fields]
            case inspect.StructType():
                tag = [kind.tag] if kind.tag is not None else []
                return tag + [self.value(field.type) for field in kind.fields]
            case inspect.Metadata():
                return self.value(kind.type)
            case inspect.FloatType():
                return random.choice((0.0, -1.0, 1e300))
        raise AssertionError(kind)
