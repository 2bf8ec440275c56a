"""A node without its web front: everything from the disk up to the handlers, wired in one place.

`dynatwist.node` puts sockets for clients on it; `dynatwist.sim` runs whole clusters of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dynatwist.agreement.agreement import Acceptors
from dynatwist.agreement.registers import Registers
from dynatwist.agreement.registrar import Registrar
from dynatwist.agreement.rotation import Rotation
from dynatwist.api.context import VERSION, Context
from dynatwist.api.handlers import Handlers
from dynatwist.api.intake import Intake
from dynatwist.api.pages import SharedPages
from dynatwist.api.source import Proxies
from dynatwist.audit_log import AuditLog
from dynatwist.auth.agreed import Agreed
from dynatwist.auth.cluster_secrets import admin_passwords, token_keys
from dynatwist.auth.groups import GROUPS_TABLE, Groups, group_of
from dynatwist.auth.passwords import Passwords
from dynatwist.auth.rights import Rights
from dynatwist.auth.services import SERVICES_TABLE, Services, service_of
from dynatwist.auth.tokens import Tokens
from dynatwist.auth.users import Users
from dynatwist.budget import Budget
from dynatwist.cluster.cluster import Cluster
from dynatwist.config.node import NodeConfig
from dynatwist.counters import counters_of, metrics_of
from dynatwist.data_folder import DataFolder
from dynatwist.feed.hub import Hub
from dynatwist.housekeeping import Every, Housekeeping
from dynatwist.membership.messages import Alive
from dynatwist.membership.settings import SwimSettings
from dynatwist.membership.swim import Swim
from dynatwist.metrics import Values
from dynatwist.model.registry import MAX_MEMBERS, Member
from dynatwist.net.gossip import GossipPort
from dynatwist.net.packet import MAX_PAYLOAD_BYTES
from dynatwist.relays.relays import Relays
from dynatwist.repair.repair import Repair
from dynatwist.replication.conflicts import MAX_BYTES, MEMORY_SHARE
from dynatwist.replication.met import REPEATED_S
from dynatwist.replication.quorum import Level
from dynatwist.requests.backups import BackupSource
from dynatwist.requests.conflicts import Conflicts
from dynatwist.requests.coordinator import Coordinator
from dynatwist.requests.leases import LeaseEnds
from dynatwist.requests.listing import Listing
from dynatwist.requests.missing import Missing
from dynatwist.requests.table_changes import TableChanges
from dynatwist.requests.table_list import TableList
from dynatwist.runtime import Runtime
from dynatwist.scheduled.build import scheduled_backups
from dynatwist.storage.identity import IdentityFile
from dynatwist.storage.keyring import ClusterKeys, Keyring
from dynatwist.storage.opening import open_folder

STOP_TIMEOUT_S = 5.0
"""For the log to be synced at a clean stop; a disk that takes longer is left alone, and recovery copes with it."""
GOSSIP = b"gossip"


class Core:
    """See the module. Construct, `start`, `stop`.

    :raises StartError: when the data folder cannot be used.
    """

    log = Logger()

    def __init__(self, config: NodeConfig, keyring: Keyring, runtime: Runtime, budget: Budget | None = None) -> None:
        self.config = config
        self.budget = budget or config.limits.budget()
        self.keyring = keyring
        self.runtime = runtime
        opened = open_folder(
            fs=runtime.fs,
            folder=config.actual_data_dir,
            keys=keyring.keys,
            randbytes=runtime.randbytes,
            replicas=config.replicas,
            say=lambda progress: self.log.info("recovery: {progress}", progress=progress),
        )
        self.identity = opened.identity
        self._note(opened.findings)
        self.audit_log = AuditLog(config.audit_log, config.audit_bytes, runtime, f"{config.host}:{config.port}")
        self.folder = DataFolder(
            opened=opened,
            config=config,
            runtime=runtime,
            mark_ms=lambda: self.cluster.times.walls.mark_ms,
            withdraw=lambda: self.relays.announcing.withdraw(),
        )
        self.store = self.folder.store
        self.store.conflicts.bound(min(MAX_BYTES, config.limits.store_bytes // MEMORY_SHARE))
        self._build_cluster(opened.identity_file)
        self._build_requests()
        self._build_users()
        self._build_gossip()
        self._build_handlers()
        self._build_loops()
        self.keyring.on_change.append(self._keys_changed)

    def _note(self, findings: Iterable[str]) -> None:
        for finding in findings:
            self.log.warn("recovery: {finding}", finding=finding)

    # Building

    def _build_cluster(self, identity_file: IdentityFile) -> None:
        config, identity = self.config, self.identity
        me = Member(identity.node_id, config.host, config.port, config.actual_peer_port, config.zone)
        self.cluster = Cluster(
            me=me,
            identity=identity,
            identity_file=identity_file,
            store=self.store,
            runtime=self.runtime,
            lone_after_s=config.lone_after_s,
            grace_s=config.tombstone_grace_s,
        )
        self.cluster.links.doors.go_by(config.doors)
        self.renewal = self.folder.renewal(self.cluster.identity, self.keyring)

    def _build_requests(self) -> None:
        config, identity, runtime = self.config, self.identity, self.runtime
        self.intake = Intake(runtime.monotonic_s, runtime.later)
        self.hub = Hub(
            identity.epoch.hex(),
            self.intake.has_time,
            self.intake.postpone,
            budget_bytes=lambda: self.store.size_bytes,
            is_settled=lambda key: self.relays.announcing.is_settled(key),
            hears_all=lambda: self.cluster.ownership.owns_all,
            is_awake=False,
        )
        self.relays = Relays(self.cluster, self.hub)
        self.store.announce_to(self.relays.announcing.announce, self.relays.announcing.announce_end)
        self.registers = Registers(self.cluster)
        limits = config.limits
        self.coordinator = Coordinator(self.cluster, self.registers, limits.value_bytes, limits.store_bytes)
        self.lease_ends = LeaseEnds(self.cluster, self.coordinator)
        self.acceptors = Acceptors(self.cluster)
        self.registrar = Registrar(
            cluster=self.cluster,
            acceptors=self.acceptors,
            seeds=list(config.join),
            replicas=config.replicas,
            secrets=lambda: self.keyring.keys.names(),
        )
        self.repair = Repair(self.cluster)

    def _build_users(self) -> None:
        config, runtime, keys = self.config, self.runtime, self.keyring.keys
        admins = admin_passwords(keys, config.admin_password)
        tokens = Tokens(token_keys(keys, admins), runtime.wall_ms, config.token_lifetime_s, runtime.randbytes)
        passwords = Passwords(
            runtime.offload,
            runtime.randbytes,
            checking=self.budget.logins,
            registering=self.budget.registrations,
            cost=config.argon2,
        )
        coordinator, store, tables = self.coordinator, self.store, self.coordinator.tables
        groups = Agreed(self.cluster, self.registers, coordinator, table=GROUPS_TABLE, value_of=group_of)
        services = Agreed(self.cluster, self.registers, coordinator, table=SERVICES_TABLE, value_of=service_of)
        self.groups = Groups(store, groups)
        self.services = Services(store, services, coordinator, runtime.wall_ms, runtime.randbytes)
        self.rights = Rights(tables, self.groups, self.services, anonymous_read=config.anonymous_read)
        self.users = Users(
            cluster=self.cluster,
            coordinator=self.coordinator,
            registers=self.registers,
            services=self.services,
            passwords=passwords,
            tokens=tokens,
            admin_passwords=admins,
        )

    def _build_gossip(self) -> None:
        me = self.cluster.me
        known = self.identity.registry
        addresses = [(one.host, one.port) for one in (known.members if known is not None else ())]
        seeds = [address for address in (*self.config.join, *addresses) if address != (me.host, me.port)]
        swim = Swim(
            me=Alive(me.node_id, self.identity.incarnation, me.host, me.port, me.peer_port, VERSION, self.config.zone),
            seeds=seeds,
            settings=SwimSettings(payload_bytes=MAX_PAYLOAD_BYTES, max_up=MAX_MEMBERS),
            random=self.runtime.random,
            incarnation_raised=self.cluster.identity.raise_incarnation,
        )
        self.cluster.peers.gossip_with(swim)
        self.gossip = GossipPort(
            swim=swim,
            keys=self.keyring.keys.derive_all(GOSSIP),
            epoch=self.identity.epoch,
            runtime=self.runtime,
            changed=self.cluster.peers.gossip_changed,
            ping_link=self.cluster.links.ping,
        )

    def _build_handlers(self) -> None:
        config = self.config
        listing = Listing(self.cluster, self.coordinator, self.relays.bookmarking.collected)
        missing = Missing(self.cluster, listing)
        self.relays.fetch_by(missing.of_node)
        context = Context(
            cluster=self.cluster,
            coordinator=self.coordinator,
            listing=listing,
            missing=SharedPages(missing.page, self.intake),
            registrar=self.registrar,
            users=self.users,
            groups=self.groups,
            services=self.services,
            rights=self.rights,
            hub=self.hub,
            metrics=metrics_of(VERSION, self.folder.log_groups, self.repair.took, self.coordinator.from_peers.lag),
            saver=self.folder.saver,
            room=self.folder.room,
            secrets=lambda: self.keyring.keys.names(),
            intake=self.intake,
            pages=SharedPages(
                lambda table, prefix, after: listing.page(table, prefix, after, Level.QUORUM), self.intake
            ),
            budget=self.budget,
            limits=config.limits,
            private_status=config.private_status,
            anonymous_read=config.anonymous_read,
            registration=config.registration,
            proxies=Proxies(config.trusted_proxies),
            audit=self.audit_log.audit,
            findings=self.folder.findings,
            counters=self._counters,
        )
        lag, told = self.coordinator.from_peers.lag, context.metrics
        source = BackupSource(self.cluster, self.registers, missing, lambda: told.total_requests + sum(lag.counts))
        self.handlers = Handlers(
            context,
            rotation=Rotation(self.cluster, self.registers, self.keyring, config.token_lifetime_s),
            renewal=self.renewal,
            table_changes=TableChanges(self.cluster, self.registers, self.coordinator),
            table_list=TableList(self.cluster, self.coordinator.tables),
            conflicts=Conflicts(self.cluster),
            backups=source,
            later=self.runtime.later,
        )
        self.backups = scheduled_backups(config, self.runtime, context, source, self.folder.room)

    def _counters(self) -> dict[str, Values]:
        return counters_of(
            repair=self.repair,
            room=self.folder.room,
            wal=self.folder.wal,
            saver=self.folder.saver,
            peers=self.cluster.peers,
            gossip=self.gossip,
            audit_log=self.audit_log,
            tickets=self.users.tickets,
            voting=self.registers.voting,
            backups=self.backups,
            tracer=self.runtime.tracer,
        )

    def _build_loops(self) -> None:
        config, folder = self.config, self.folder
        self._housekeeping = Housekeeping(
            clock=self.runtime.clock,
            saver=folder.saver,
            wal=folder.wal,
            room=folder.room,
            cold_writer=folder.cold_writer,
            durability=config.durability,
            snapshot_interval_s=config.snapshot_interval_s,
            each_second=(
                self.coordinator.from_peers.sweep,
                Every(REPEATED_S, self.store.requests.age),
                self.cluster.times.tick,
                self.lease_ends.look,
                self.registers.voting.tick,
                self.cluster.yielding.look,
                self.cluster.yielding.try_log,
                self.handlers.insight.look,
                *((self.backups.look,) if self.backups is not None else ()),
            ),
            each_quarter=(self.handlers.connected.look, self.cluster.times.look),
        )

    # Running

    def start(self) -> None:
        """Open the ports between nodes and begin."""
        self.folder.wal.open()
        self.cluster.links.start(self.config.actual_peer_port)
        self.gossip.start(self.config.port)
        registry = self.cluster.registry
        for member in (*registry.members, *registry.previous) if registry is not None else ():
            self.cluster.links.dialler.want(member.node_id, member.host, member.peer_port)
        self.registers.voting.start()
        self.registrar.start()
        self.repair.start()
        self.relays.bookmarking.start()
        self.folder.scrub(self._note)  # before the first cold save can remove anything
        self._housekeeping.start(save_now=bool(self.folder.recovered.damage))
        self.renewal.start()

    def stop(self) -> Deferred[None]:
        """Say goodbye, flush the log, close the links; within a deadline."""
        self.cluster.stop()
        self._housekeeping.stop()
        self.renewal.stop()
        if self.backups is not None:
            self.backups.stop()
        self.registrar.stop()
        self.repair.stop()
        self.relays.bookmarking.stop()
        self.gossip.stop()
        done: Deferred[None] = Deferred()
        deadline = self.runtime.clock.callLater(STOP_TIMEOUT_S, lambda: self._close(done))

        def flushed() -> None:
            if deadline.active():
                deadline.cancel()
                self._close(done)

        self.folder.flush(flushed)
        return done

    def _close(self, done: Deferred[None]) -> None:
        self.cluster.links.stop()

        def closed() -> None:
            self.audit_log.stop()
            done.callback(None)

        self.folder.close(closed)

    # The cluster's secrets

    def _keys_changed(self, keys: ClusterKeys) -> None:
        self.gossip.codec.use(keys.derive_all(GOSSIP))
        passwords = admin_passwords(keys, self.config.admin_password)
        self.users.go_by(token_keys(keys, passwords), passwords)
        self.cluster.links.go_by(keys.names())
