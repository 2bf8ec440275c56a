"""Changing the cluster's secrets on all members, step by step: install, use, retire.

Each step is taken by every registered member, or the next one is refused; each may be repeated. So at any time every
member accepts what any other sends, whoever fails in between. A member that is down would not know the new secret when
it comes back: while one is, there is no beginning.

Two administrators may do so at once, at two nodes. If one retired all secrets but the first while the other has the
second one used, a member that hears of the use, and not of the rest, would be accepted by nobody. So each step is a
*turn*: a number that is agreed on (the version of a register), of which the last one counts. Members are asked what
they have under the number of the turn; from then on they take no step of an earlier turn, and before any step they make
sure that the turn is the last one. So what all of them have said stays so until the turn's step is taken.
"""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.errors import StartError
from dynatwist.model.record import Draft
from dynatwist.model.registry import Member, Registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import KeysAre, Rekey, Unable
from dynatwist.net.replies import Reply
from dynatwist.sometimes import sometimes
from dynatwist.storage.keyring import SECRET_BYTES, Change, Keyring, NoSuchKeys, name_of

from . import awaited
from .registers import Registers
from .turns import Ended

STEP_TIMEOUT_S = 8.0
"""For a step: to make sure of the turn, and two syncs of a small file, on a disk that takes a second for each, and
more."""
TURN_TIMEOUT_S = 3.0
"""For agreeing on a turn, or reading it: some ballots, while a round trip takes a hundredth."""
TURN = ("_cluster", "secrets")
"""The register whose version is the turn. Its value says what for, to people."""
OWNER = "admin"


class RotationRefused(Exception):
    """A step that not all members have taken; what was taken stays, and does no harm."""


class Rotation:
    """See the module.

    :param tokens_s: for how long users' tokens from retired secrets are good.
    """

    log = Logger()

    def __init__(self, cluster: Cluster, registers: Registers, keyring: Keyring, tokens_s: int) -> None:
        self._cluster = cluster
        self._registers = registers
        self._keyring = keyring
        self._tokens_s = tokens_s
        self._turn = 0
        cluster.peers.on_call(Rekey, self._on_rekey)

    # As whoever was asked

    async def names(self) -> dict[str, tuple[str, ...] | None]:
        """By address, the names of the secrets that each member accepts, the one in use first; ``None`` of those that
        cannot be asked."""
        replies = await self._ask(Rekey(self._cluster.version))
        return {one.address: reply.names if isinstance(reply, KeysAre) else None for one, reply in replies}

    async def install(self) -> str:
        """Have all members accept a new secret; answers its name.

        :raises RotationRefused: when one did not.
        """
        secret = self._cluster.runtime.randbytes(SECRET_BYTES)
        name = name_of(secret)
        turn = await self._take_turn("install", name)
        for member, names in await self._all_take(Rekey(self._cluster.version, "install", secret, turn=turn)):
            if name not in names:
                raise RotationRefused(f"{member.address} did not keep the new secret")
        return name

    async def use(self, name: str) -> str:
        """Have all members use a secret, which all of them have to accept already; answers its name.

        :raises RotationRefused: when one does not.
        """
        asked, told = await self._ask_in_turn("use", name)
        for member, names in told:
            if name not in names:
                raise RotationRefused(f"{member.address} does not know secret {name}; install it first")
        await self._all_take(msgspec.structs.replace(asked, step="use", name=name))
        return name

    async def retire(self, keep_tokens: bool = True) -> str:
        """Have all members accept no other secret than the one in use, which has to be the same everywhere.

        :param keep_tokens: whether users stay logged in.
        :returns: the name of the one that is left.
        :raises RotationRefused: when one uses another.
        """
        name = self._keyring.keys.names()[0]
        asked, told = await self._ask_in_turn("retire", name)
        for member, names in told:
            if names[0] != name:
                raise RotationRefused(f"{member.address} does not use secret {name} yet")
        now_s = self._cluster.runtime.wall_ms() // 1000
        tokens_s = self._tokens_s if keep_tokens else 0
        step = msgspec.structs.replace(asked, step="retire", name=name, now_s=now_s, tokens_s=tokens_s)
        await self._all_take(step)
        return name

    async def rotate(self, keep_tokens: bool = True) -> str:
        """All three steps; answers the name of the new secret."""
        await self.use(await self.install())
        return await self.retire(keep_tokens)

    async def _take_turn(self, step: str, name: str) -> int:
        """The number of a turn that is agreed on to be the last one, if all members can be asked."""
        self._require_all()
        value = msgspec.json.encode({"step": step, "name": name, "by": self._cluster.me.node_id.hex()})
        _, mine = await awaited.rewrite(self._registers, TURN, lambda held: Draft(value, OWNER), TURN_TIMEOUT_S)
        if mine is None:
            raise RotationRefused("a majority of the members did not agree in time; try again")
        return mine.version

    async def _ask_in_turn(self, step: str, name: str) -> tuple[Rekey, list[tuple[Member, tuple[str, ...]]]]:
        """Begin a turn, and ask all members what they accept, which stays so until the turn's step.

        :returns: the question, of which the step differs in what it does; and the answers.
        """
        turn = await self._take_turn(step, name)
        asked = Rekey(self._cluster.version, turn=turn)
        told = await self._all_take(asked)
        if self._cluster.version != asked.registry:
            raise RotationRefused("members have changed meanwhile; try again")
        return asked, told

    def _require_all(self) -> None:
        registry = self._cluster.registry
        if registry is not None and registry.changing:
            raise RotationRefused("a member joins or leaves; try again when that is over")
        peers, members = self._cluster.peers, self._members()
        away = [one.address for one in members if not peers.is_reachable(one.node_id)]
        if away:
            why = f"{', '.join(away)} cannot be reached, and would not know the new secret when it comes back"
            raise RotationRefused(f"{why}; start it, or strike it out (dynakv forget {away[0]}), then try again")
        old = [one.address for one in members if peers.lacks_registers(one.node_id)]
        if old:
            raise RotationRefused(f"{', '.join(old)} runs an older release; upgrade all members first")

    async def _all_take(self, message: Rekey) -> list[tuple[Member, tuple[str, ...]]]:
        """Have every member take a step, if all of them can be asked."""
        self._require_all()
        taken = []
        for member, reply in await self._ask(message):
            if not isinstance(reply, KeysAre):
                why = reply.reason if isinstance(reply, Unable) else "it did not answer"
                raise RotationRefused(f"{member.address}: {why}; try again")
            taken.append((member, reply.names))
        return taken

    def _members(self) -> list[Member]:
        registry: Registry | None = self._cluster.registry
        assert registry is not None
        known = {member.node_id: member for member in (*registry.previous, *registry.members)}
        return sorted(known.values(), key=lambda member: member.address)

    async def _ask(self, message: Rekey) -> list[tuple[Member, Reply]]:
        def ask(member: Member) -> Deferred[Reply]:
            answered: Deferred[Reply] = Deferred()
            if member.node_id == self._cluster.me.node_id:
                self._on_rekey(Arrival(member.node_id), message, answered.callback)
            else:
                self._cluster.links.call(member.node_id, message, answered.callback, timeout_s=STEP_TIMEOUT_S)
            return answered

        members = self._members()
        replies = await all_of([ask(member) for member in members])
        return list(zip(members, replies, strict=True))

    # As a member

    def _on_rekey(self, arrival: Arrival, message: Rekey, respond: Respond) -> None:
        if not message.turn and not message.step:
            respond(KeysAre(self._keyring.keys.names()))
            return
        try:
            self._change_of(message)(self._keyring.keys)
        except NoSuchKeys as error:
            respond(Unable(f"this step is none: {error}"))
            return

        def looked(end: Ended) -> None:
            last = end.record.version if end.record is not None else 0
            if end.chosen is None:
                respond(Unable("it does not reach a majority of the members"))
            elif message.turn != last or message.turn < self._turn:
                sometimes("a step of an earlier turn to change the secrets is refused")
                respond(Unable("somebody else changes the secrets at the same time; see who accepts what"))
            else:
                self._turn = message.turn
                self._take(message, respond)

        self._registers.read(TURN, self._cluster.runtime.monotonic_s() + TURN_TIMEOUT_S, looked)

    def _take(self, message: Rekey, respond: Respond) -> None:
        before = self._keyring.keys.names()
        try:
            self._keyring.change(self._change_of(message))
        except NoSuchKeys as error:
            respond(Unable(f"this step is none: {error}"))
            return
        except (OSError, StartError) as error:
            respond(Unable(f"the key file cannot be changed: {getattr(error, 'strerror', None) or error}"))
            return
        after = self._keyring.keys.names()
        if after != before:
            self.log.info(
                "cluster secrets: uses {used}, accepts {others} besides",
                used=after[0],
                others=", ".join(after[1:]) or "none",
            )
        respond(KeysAre(after))

    def _change_of(self, message: Rekey) -> Change:
        """What a step makes of this node's keys.

        :raises NoSuchKeys: when it names a secret that this node does not have; the change itself may raise it too.
        """
        match message.step:
            case "install":
                return lambda keys: keys.installed(message.secret)
            case "use" | "retire" if message.name not in self._keyring.keys.names():
                raise NoSuchKeys(f"this node does not have secret {message.name[:16]}")
            case "use":
                return lambda keys: keys.used(message.name)
            case "retire":
                return lambda keys: keys.retired(message.name, message.now_s, message.tokens_s)
            case _:
                return lambda keys: keys
