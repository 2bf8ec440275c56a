"""What ``twistd dynakv`` calls: options, checks, and the service. The only module that uses the global reactor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.python import usage

from dynatwist import __version__, logs
from dynatwist.checking import file_faults
from dynatwist.config.node import NodeConfig
from dynatwist.config.settings import SETTINGS, Setting
from dynatwist.config.sources import Gathered, load
from dynatwist.errors import DynakvError, StartError
from dynatwist.network import RealNetwork
from dynatwist.ports import ports_of
from dynatwist.process import begin_loading, fit, on_hangup, raise_descriptor_limit, settle
from dynatwist.supervised import Supervised, sender, supervision

LISTS = [setting for setting in SETTINGS if setting.is_list]


def fail(text: str) -> NoReturn:
    """One line on stderr, exit status 1."""
    sys.stderr.write(f"dynakv: {' '.join(text.split())}\n")
    raise SystemExit(1)


class Options(usage.Options):
    """The options, made from the table of settings."""

    synopsis = "[options]"
    longdesc = "A leaderless, replicated, encrypted key-value store."
    optParameters = [
        ["config", None, None, "TOML file with these settings"],
        *(
            [setting.name, None, None, setting.help]
            for setting in SETTINGS
            if setting.is_option and not setting.is_switch and not setting.is_list
        ),
    ]
    optFlags = [
        *([setting.name, None, setting.help] for setting in SETTINGS if setting.is_switch),
        ["check-config", None, "check all settings and files, print what was given, and start nothing"],
    ]

    def __init__(self) -> None:
        super().__init__()
        for setting in LISTS:
            self[setting.name] = []

    def parseOptions(self, options: Any = None) -> None:
        """Parse; a fault is one line on stderr, not twistd's whole usage on stdout."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            fail(f"{error}; see: twistd dynakv --help")

    def opt_version(self) -> NoReturn:
        """Print the version of DynaTwist, and exit."""
        sys.stdout.write(f"DynaTwist {__version__}\n")
        raise SystemExit(0)

    def parseArgs(self, *rest: str) -> None:
        """There are no arguments."""
        if rest:
            fail(f"unexpected argument '{rest[0]}'; see: twistd dynakv --help")

    def postOptions(self) -> None:
        """Read file and environment, check everything, and keep twistd from writing a pid file with ``-n``."""
        switches = {setting.name for setting in SETTINGS if setting.is_switch}
        given = {name: True if name in switches else value for name, value in self.items() if value}
        if given.pop("check-config", False):
            check(Gathered(given, os.environ))
        try:
            self.config: NodeConfig = load(given, os.environ)
        except DynakvError as error:
            fail(str(error))
        parent = self.parent
        if parent is not None and self.log.path == "-" and self.log.is_daemon:
            fail("a daemon cannot log to stdout: name a file with --logfile, or use -n")
        if parent is not None and not self.log.is_usual and not parent.get("logger"):
            parent["logger"] = logs.FACTORY
        if parent is not None and parent.get("nodaemon") and parent.get("pidfile") == "twistd.pid":
            parent["pidfile"] = None

    @property
    def log(self) -> logs.Choice:
        """What the log is to be."""
        parent: Any = self.parent or {}
        path, is_daemon = parent.get("logfile") or "", not parent.get("nodaemon")
        return logs.Choice(self.config.log_format == "json", self.config.log_level, path, is_daemon)


def check(gathered: Gathered) -> NoReturn:
    """Print what was given, or a line for each fault, and exit. A node may run by the same settings meanwhile."""
    faults = list(gathered.faults)
    if not faults:
        faults += [*gathered.config.faults(), *file_faults(gathered.config)]
    for fault in faults:
        sys.stderr.write(f"dynakv: {' '.join(fault.split())}\n")
    if faults:
        raise SystemExit(1)
    for name, value, where in gathered.told():
        sys.stdout.write(f"{name} = {value}   ({where})\n")
    sys.stdout.write("ok; all other settings are as twistd dynakv --help says\n")
    raise SystemExit(0)


def _adder(setting: Setting) -> Callable[[Options, str], None]:
    """What Twisted calls for an option that may be repeated; its docstring is shown as help."""

    def add(options: Options, text: str) -> None:
        options[setting.name].append(text)

    add.__doc__ = setting.help
    return add


for _setting in LISTS:
    setattr(Options, f"opt_{_setting.name.replace('-', '_')}", _adder(_setting))


def check_ports(config: NodeConfig) -> None:
    """See that the ports are free before anything starts.

    :raises StartError: one line.
    """
    for port in ports_of(config):
        error = port.obstacle()
        if error is not None:
            raise StartError(f"cannot use {port.name}: {error.strerror}; choose another with {port.option}")


def makeService(options: Options, network: type[RealNetwork] = RealNetwork) -> IService:
    """The service of one node.

    :param network: makes the sockets between nodes.
    """
    from twisted.internet import reactor

    from dynatwist.node import NodeService

    threads: Any = reactor
    logs.choose(replace(options.log, in_reactor=threads.callFromThread))
    try:
        check_ports(options.config)
        fit(reactor)
        begin_loading()
        service = NodeService(options.config, reactor, network)
        service.prepare()
    except DynakvError as error:
        fail(str(error))
    if options.config.tls_cert is not None:
        on_hangup(reactor, service.reload)
    wanted = supervision(os.environ, os.getpid())
    if wanted is not None:
        told = Supervised(sender(wanted.address), lambda: service.is_ready, wanted.watchdog_s, reactor)
        told.setServiceParent(service)
    settle()
    raise_descriptor_limit()
    return service
