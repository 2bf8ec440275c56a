"""What comes from other nodes, or seems to: frames and messages of peer links, gossip."""

from __future__ import annotations

import gc
import typing
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
from msgspec import inspect

from dynatwist.membership.messages import ENCODER, Ack, Alive, Compare, Dead, IndirectPing, Nack, Ping, States, Suspect
from dynatwist.membership.soundness import is_sound
from dynatwist.membership.view import BUCKETS
from dynatwist.model.record import Draft
from dynatwist.net.framing import Frame, FrameError, FrameReader, encode
from dynatwist.net.link import PeerLink
from dynatwist.net.messages import WIRE_VERSION, AnyMessage, Hello, Refused, Rekey
from dynatwist.sim.cluster import PORT

from ..edits import edited
from ..target import Found, Target
from ..world import Nodes, nothing_logged

HELLO_BYTES = 64 << 10
ASKS_WITHIN_S = 1.5
"""A round of anti-entropy begins every second."""
FRESH_AFTER = 300
"""Inputs that one cluster is given: what some of them leave behind must not hide what others do."""


def frames(data: bytes) -> None:
    """A stream: frames or `FrameError`, the same however it is cut."""
    whole = _read([data])
    middle = len(data) // 2
    if _read([data[:middle], data[middle:]]) != whole:
        raise Found("cut in two it is read in another way")
    if len(data) < 600 and _read([data[at : at + 1] for at in range(len(data))]) != whole:
        raise Found("byte by byte it is read in another way")


def _read(pieces: Iterable[bytes]) -> tuple[bytes, bool]:
    """What frames there are, and whether it is refused in the end."""
    reader = FrameReader(HELLO_BYTES)
    found: list[Frame] = []
    try:
        for piece in pieces:
            found.extend(reader.feed(piece))
    except FrameError:
        return repr(found).encode(), True
    return repr(found).encode(), False


def _framed(number: int, packed: bytes) -> bytes | None:
    """The frame of a message with an id, if these bytes are one."""
    frame = b"\x94\x01\x02\x92\x03\x04\x91\x92" + msgspec.msgpack.encode(number) + packed
    whole = (len(frame) + 1).to_bytes(4) + bytes((WIRE_VERSION,)) + frame
    try:
        list(FrameReader().feed(whole))
    except FrameError:
        return None
    return whole


class _Pair:
    """Two nodes that know each other; the first one hears what the second might say."""

    def __init__(self) -> None:
        self.nodes: Nodes | None = None
        self._runs = 0

    def fresh(self) -> Nodes:
        """Two that are linked."""
        self._runs += 1
        if self.nodes is None or self._runs % FRESH_AFTER == 0 or self.link() is None:
            self.nodes = None
            gc.collect()  # a node is one large cycle
            self.nodes = Nodes(2, seed=1)
            for number in range(3):
                node = self.nodes.nodes[number % 2]
                assert node.process is not None
                assert node.core is not None
                node.process.run(node.core.store.write, ("t", f"k{number}"), Draft(b'{"a":1}', "alice"))
            self.nodes.run(0.5)
        return self.nodes

    def link(self) -> PeerLink | None:
        """Of the first node, with the second."""
        nodes = self.nodes
        assert nodes is not None
        return nodes.core.cluster.links._links.get(nodes.nodes[1].node_id)

    def end(self, seconds: float) -> None:
        """See what comes of it; after a finding the next one gets a cluster of its own."""
        nodes, self.nodes = self.nodes, None
        assert nodes is not None
        nodes.run(seconds)
        nothing_logged()
        nodes.check()
        self.nodes = nodes


_LINKED, _GOSSIPING = _Pair(), _Pair()


def messages(data: bytes) -> None:
    """The messages of a frame of a registered member, as msgpack; it may say what it likes and harms nobody.

    The first byte says whether it is one that expects no answer, a call, or the answer to what the node asks just then.
    """
    if data[:1] < b"\x40":
        number = 0
    elif data[:1] < b"\x80":
        number = 1 << 20
    else:
        number = -1
    if _framed(number, data[1:]) is None:
        return  # what is no frame is looked at by `frames`
    nodes, link = _LINKED.nodes, _LINKED.link()
    assert nodes is not None
    assert link is not None
    node = nodes.node
    if number < 0:
        nodes.world.run_until(lambda: len(link._calls) > 0, ASKS_WITHIN_S, 0.01)
        number = -max(link._calls.ids, default=1)
    whole = _framed(number, data[1:])
    assert node.process is not None
    node.process.run(link.dataReceived, whole)
    _LINKED.end(0.02)


def gossip(data: bytes) -> None:
    """A datagram. The first byte says of which kind: from anybody; sealed by a member; or a member's, tampered with.

    What is not sealed changes nothing; what is sealed and has no meaning changes nothing either.
    """
    nodes = _GOSSIPING.nodes
    assert nodes is not None
    node, other = nodes.nodes
    kind, rest = data[:1] or b"\0", data[1:]
    assert other.core is not None
    if kind < b"\x20":
        _hear(nodes, rest, is_believed=False)
    elif kind < b"\x80":
        sealed = other.core.gossip.codec.seal(b"genuine", node.node_id)
        packet = edited(sealed, rest)
        if packet != sealed:
            _hear(nodes, packet, is_believed=False)
    else:
        _hear(nodes, other.core.gossip.codec.seal(rest, node.node_id), is_believed=True)
    _GOSSIPING.end(0.02)


def _hear(nodes: Nodes, packet: bytes, *, is_believed: bool) -> None:
    node, other = nodes.nodes
    swim = nodes.core.gossip.swim
    before = swim.view.digest, swim.me.incarnation, nodes.core.gossip.codec.dropped
    assert node.process is not None
    node.process.run(nodes.core.gossip.datagramReceived, packet, (other.host, PORT))
    after = swim.view.digest, swim.me.incarnation, nodes.core.gossip.codec.dropped
    if not is_believed and (before[:2] != after[:2] or before[2] == after[2]):
        raise Found("a packet that nobody sealed is not dropped")


def sound(data: bytes) -> None:
    """Whatever decodes as gossip is judged, and what counts as sound can be passed on."""
    try:
        decoded = msgspec.msgpack.decode(data, type=list[_GOSSIP])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    for message in filter(is_sound, decoded):
        if msgspec.msgpack.decode(ENCODER.encode([message]), type=list[_GOSSIP]) != [message]:
            raise Found(f"{message} changes on its way")


_GOSSIP = Ping | Ack | Nack | IndirectPing | Alive | Suspect | Dead | Compare | States
NODE = b"n" * 8
_SAID: tuple[Any, ...] = (
    Ping(1, NODE), Ack(1, 5), Nack(1), IndirectPing(7, NODE), Alive(NODE, 1, "10.0.0.9", 7000, 17000, "v", "z"),
    Suspect(NODE, 1, b"m" * 8), Dead(NODE, 1, NODE), Compare(bytes(8 * BUCKETS)),
    States([Alive(NODE, 2, "host", 1, 2), Dead(NODE, 3, b"")], {0: b"", BUCKETS - 1: bytes(8)}),
    Alive(NODE, 1 << 62, "::1", 65535, 1), Alive(NODE, 1, "", 0, 0), Compare(b"x"), Ping(1 << 62, b""),
)  # fmt: skip


def _gossip_seeds() -> Iterable[bytes]:
    for message in _SAID:
        yield b"\xff" + ENCODER.encode([message])
    yield b"\xff" + ENCODER.encode(list(_SAID[:9]))
    yield b"\x40\x00\x00\x20\x01\x01"
    yield b"\x00" + b"\x02\x00" + NODE + b"e" * 8 + bytes(8) + bytes(8) + bytes(40)


def _message_seeds() -> Iterable[bytes]:
    """Some of each kind, with what fits anywhere."""
    random = Random(1)
    for kind in typing.get_args(AnyMessage):
        if kind in (Hello, Refused, Rekey):
            continue
        for first in (b"\x00", b"\x40", b"\x80"):
            yield first + msgspec.msgpack.encode(_some(inspect.type_info(kind), random))


def _some(kind: Any, random: Random) -> Any:
    """A plain value of a type, as msgpack has it."""
    match kind:
        case inspect.IntType():
            return random.choice((0, 1, 2, 7))
        case inspect.BoolType():
            return random.random() < 0.5
        case inspect.StrType():
            return random.choice(("t", "k0", "_users", "quorum"))
        case inspect.BytesType() | inspect.RawType():
            return random.choice((b"a" * 8, b"a" * 16, b"{}", b""))
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.UnionType():
            return _some(random.choice(kind.types), random)
        case inspect.ListType() | inspect.VarTupleType():
            return [_some(kind.item_type, random) for _ in range(2)]
        case inspect.TupleType():
            return [_some(one, random) for one in kind.item_types]
        case inspect.DictType():
            return {_some(kind.key_type, random): _some(kind.value_type, random)}
        case inspect.NamedTupleType():
            return [_some(field.type, random) for field in kind.fields]
        case inspect.StructType():
            tag = [kind.tag] if kind.tag is not None else []
            return tag + [_some(field.type, random) for field in kind.fields]
        case inspect.Metadata():
            return _some(kind.type, random)
    return None


def _frame_seeds() -> Iterable[bytes]:
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(AnyMessage)
    for seed in _message_seeds():
        try:
            message = decoder.decode(seed[1:])
        except msgspec.MsgspecError:
            continue
        yield encode(1, (2, (3, 4)), [(1, message)])
    yield encode(1, (2, (3, 4), 5, 6), []) * 2
    yield (1 << 30).to_bytes(4) + b"\x02"


WORDS = (bytes((WIRE_VERSION,)), b"\x94\x01\x02\x92\x03\x04", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xc0")
TARGETS = (
    Target("frames", frames, _frame_seeds, WORDS),
    Target("messages", messages, _message_seeds, (*WORDS, b"_users", b"quorum", b"registry:"), _LINKED.fresh),
    Target("gossip", gossip, _gossip_seeds, WORDS, _GOSSIPING.fresh),
    Target("sound", sound, lambda: [seed[1:] for seed in _gossip_seeds()], WORDS),
)
