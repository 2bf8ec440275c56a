"""Changing the cluster's secrets on all members, step by step: install, use, retire.

Each step is taken by every registered member, or the next one is refused; each may be repeated. So at any time every
member accepts what any other sends, whoever fails in between. A member that is down would not know the new secret when
it comes back: while one is, there is no beginning.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.errors import StartError
from dynatwist.model.registry import Member, Registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import KeysAre, Rekey, Unable
from dynatwist.net.replies import Reply
from dynatwist.storage.keyring import SECRET_BYTES, Keyring, NoSuchKeys, name_of

STEP_TIMEOUT_S = 5.0
"""For a step: two syncs of a small file, on a disk that takes a second for each, and more."""


class RotationRefused(Exception):
    """A step that not all members have taken; what was taken stays, and does no harm."""


class Rotation:
    """See the module.

    :param tokens_s: for how long users' tokens from retired secrets are good.
    """

    log = Logger()

    def __init__(self, cluster: Cluster, keyring: Keyring, tokens_s: int) -> None:
        self._cluster = cluster
        self._keyring = keyring
        self._tokens_s = tokens_s
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
        for member, names in await self._all_take(Rekey(self._cluster.version, "install", secret)):
            if name not in names:
                raise RotationRefused(f"{member.address} did not keep the new secret")
        return name

    async def use(self, name: str) -> str:
        """Have all members use a secret, which all of them have to accept already; answers its name.

        :raises RotationRefused: when one does not.
        """
        for member, names in await self._all_take(Rekey(self._cluster.version)):
            if name not in names:
                raise RotationRefused(f"{member.address} does not know secret {name}; install it first")
        await self._all_take(Rekey(self._cluster.version, "use", name=name))
        return name

    async def retire(self, keep_tokens: bool = True) -> str:
        """Have all members accept no other secret than the one in use, which has to be the same everywhere.

        :param keep_tokens: whether users stay logged in.
        :returns: the name of the one that is left.
        :raises RotationRefused: when one uses another.
        """
        name = self._keyring.keys.names()[0]
        for member, names in await self._all_take(Rekey(self._cluster.version)):
            if names[0] != name:
                raise RotationRefused(f"{member.address} does not use secret {name} yet")
        now_s = self._cluster.runtime.wall_ms() // 1000
        tokens_s = self._tokens_s if keep_tokens else 0
        await self._all_take(Rekey(self._cluster.version, "retire", b"", name, now_s, tokens_s))
        return name

    async def rotate(self, keep_tokens: bool = True) -> str:
        """All three steps; answers the name of the new secret."""
        await self.use(await self.install())
        return await self.retire(keep_tokens)

    async def _all_take(self, message: Rekey) -> list[tuple[Member, tuple[str, ...]]]:
        """Have every member take a step, if all of them can be asked."""
        away = [one.address for one in self._members() if not self._cluster.peers.is_reachable(one.node_id)]
        if away:
            raise RotationRefused(f"{', '.join(away)} cannot be reached; start it, or forget it, then try again")
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
        replies = await gatherResults([ask(member) for member in members])
        return list(zip(members, replies, strict=True))

    # As a member

    def _on_rekey(self, arrival: Arrival, message: Rekey, respond: Respond) -> None:
        before = self._keyring.keys.names()
        try:
            if message.step == "install":
                self._keyring.install(message.secret)
            elif message.step == "use":
                self._keyring.use(message.name)
            elif message.step == "retire":
                self._keyring.retire(message.name, message.now_s, message.tokens_s)
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
