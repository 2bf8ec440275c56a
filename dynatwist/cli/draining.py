"""``dynakv drain`` and ``replace``: a member leaves for good, once the others have what it has.

A node that is struck out while it runs is one of the old owners until the new ones have all: the commands begin that,
and watch it to its end. Whatever is killed meanwhile, the command, the node that was asked, or the one that leaves, the
same command may be given again: it goes on from what the registry says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
import msgspec

from .chosen import Chosen
from .pages import path_of
from .work import alone, fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client

LOOK_EVERY_S = 0.5
"""How often the registry is looked at: people see nothing quicker, and the nodes do not notice."""
ASK_AGAIN_S = 5.0
"""A node that was asked may die before it has told the others: who is still a member after so long is named again."""
PAUSE_S = 5.0
"""A member that is busy for a moment is not away: who cannot be reached for so long is."""
WITHIN_S = 3600.0
"""What is moved may be many gigabytes; the command ends, the move does not."""


class Listed(msgspec.Struct):
    """A member, as ``GET /admin/members`` has it."""

    id: str
    address: str
    reachable: bool


class Members(msgspec.Struct):
    """All of them.

    :ivar leaving: those that were members before the change under way.
    """

    changing: bool
    replicas: int = 0
    members: list[Listed] = []
    leaving: list[Listed] = []

    def named(self, name: str) -> list[Listed]:
        """Those of an address or id: several where a node began anew in an empty folder, and was a member before."""
        return [one for one in (*self.members, *self.leaving) if name in (one.address, one.id)]

    def find(self, name: str) -> Listed | None:
        """The member of an address or id; ``None`` where there is none, or not one alone."""
        found = self.named(name)
        return found[0] if len(found) == 1 else None

    def stands_in_the_way(self, name: str) -> str:
        """Why a member cannot leave now, and what to do; empty if it can."""
        if len(several := self.named(name)) > 1:
            ids = ", ".join(f"{one.id} ({'reachable' if one.reachable else 'away'})" for one in several)
            return f"{name} is the address of several members: {ids}; name one by its id"
        found = self.find(name)
        if found is None:
            known = ", ".join(sorted(one.address for one in self.members))
            return f"{name} is no member; the members are {known}"
        away = [self.shown(one) for one in self.members if not one.reachable and one is not found]
        if away:
            return f"{', '.join(away)} cannot be reached, and would have to take over: start it, or forget it first"
        return "" if len(self.members) > 1 else f"{found.address} is the last member"

    def shown(self, one: Listed) -> str:
        """How to name a member, so that nobody takes another one for it."""
        return one.address if self.find(one.address) else f"{one.id} (at {one.address})"

    def consequence(self, name: str) -> str:
        """What it means that a member leaves, for the question."""
        left = len(self.members) - 1
        few = "" if left >= self.replicas else f", too few for {self.replicas} copies of each key"
        away = "" if (found := self.find(name)) is None or found.reachable else "; it is away and hands nothing off"
        return f"{left} members stay{few}{away}"


def _members(client: Client) -> Members:
    return msgspec.convert(client.call("GET", "/admin/members"), Members)


@click.command()
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--within", "within_s", type=click.FloatRange(1), default=WITHIN_S, help="Seconds to wait.")
@click.pass_obj
def drain(chosen: Chosen, node: str, yes: bool, within_s: float) -> None:
    """Have member NODE (HOST:PORT or id) leave for good; log in as admin first.

    Its data move to the others first; ends when NODE holds nothing that is not elsewhere, and may be stopped.
    """
    run(chosen, lambda client: _drain(chosen, client, node, yes, within_s))


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--within", "within_s", type=click.FloatRange(1), default=WITHIN_S, help="Seconds to wait.")
@click.pass_obj
def replace(chosen: Chosen, old: str, new: str, yes: bool, within_s: float) -> None:
    """Have NEW, which was started with --join, take the place of member OLD; log in as admin first."""

    def work(client: Client) -> None:
        def is_in() -> bool:
            found = _members(client)
            return any(one.reachable and one.id != leaver_id for one in found.named(new)) and not found.changing

        found = _members(client)
        leaver = found.find(old)
        leaver_id = leaver.id if leaver is not None else ""
        if old == new or (leaver is None and not _is_half_done(chosen, client, found, old)):
            fail(found.stands_in_the_way(old) or f"{old} cannot take its own place")
        if not is_in():
            click.echo(f"waiting until {new} is a member and has its data (start it with --join)", err=True)
        _wait(is_in, f"{new} is no member yet", within_s)
        _drain(chosen, client, old, yes, within_s)

    run(chosen, work)


def _drain(chosen: Chosen, client: Client, node: str, yes: bool, within_s: float) -> None:
    found, end_s = _members(client), time.monotonic() + PAUSE_S
    if _is_half_done(chosen, client, found, node):
        _end(chosen, client, node, within_s)  # a former command was killed, or has waited for too long
        return
    while reason := found.stands_in_the_way(node):
        if time.monotonic() >= end_s or found.find(node) is None:
            fail(reason)
        time.sleep(LOOK_EVERY_S)
        found = _members(client)
    leaver = found.find(node)
    assert leaver is not None
    if not yes:
        click.confirm(f"{found.shown(leaver)} leaves for good: {found.consequence(node)}. Go on?", abort=True, err=True)
    next_s = 0.0

    def is_out() -> bool:
        nonlocal next_s
        now = _members(client)
        left = now.find(leaver.id)
        if left in now.members and time.monotonic() >= next_s:
            next_s = time.monotonic() + ASK_AGAIN_S
            client.call("POST", path_of("admin", "members", leaver.id, "forget"))
        return left is None and not now.changing

    name = found.shown(leaver)
    _wait(is_out, f"{name} is a member still", within_s)
    if not leaver.reachable:
        click.echo(f"{name} is no member any more; it was away, so it handed nothing over")
        return
    _end(chosen, client, leaver.address, within_s)


def _at(chosen: Chosen, client: Client, address: str) -> Client:
    """A client for one node alone."""
    from dynatwist.sync import Client as OneNode

    found = OneNode(alone(chosen, address).urls, ca=chosen.ca, cert=chosen.cert, deadline_s=min(5.0, chosen.timeout_s))
    found.token = client.token
    return found


def _is_half_done(chosen: Chosen, client: Client, found: Members, node: str) -> bool:
    """Whether a member has been struck out that may hold something still."""
    return not found.named(node) and ":" in node and _was_struck_out(chosen, client, node)


def _was_struck_out(chosen: Chosen, client: Client, address: str) -> bool:
    """Whether a node is there that was a member of this cluster."""
    from dynatwist.sync import KvError, Unavailable

    try:
        with _at(chosen, client, address) as other:
            mine, its = (one.call("GET", "/stats")["cluster"]["id"] for one in (client, other))
            return bool(mine == its)
    except (KvError, Unavailable):
        return False


def _end(chosen: Chosen, client: Client, address: str, within_s: float) -> None:
    """Until the node that left says that it has handed all off; one that does not answer is told about."""
    from dynatwist.sync import KvError, Unavailable

    with _at(chosen, client, address) as other:
        try:
            _wait(lambda: not other.call("GET", "/stats")["partitions_to_hand_off"], f"{address} holds data", within_s)
        except (KvError, Unavailable) as error:
            fail(
                f"{address} is no member any more; whether it holds something that others lack, it did not say: {error}"
            )
    click.echo(f"{address} is no member any more, and holds nothing that others lack; stop it")


def _wait(is_over: Callable[[], bool], what: str, within_s: float) -> None:
    """Look again and again, until it is over."""
    end_s = time.monotonic() + within_s
    while not is_over():
        if time.monotonic() >= end_s:
            fail(f"{what} after {within_s:g} s; the move goes on, and the same command waits for it again")
        time.sleep(LOOK_EVERY_S)
