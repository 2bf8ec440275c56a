"""``dynakv doctor``: what is wrong with this machine, and with the cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dynatwist.sansio.urls import checked

from .chosen import Chosen
from .contexts import USUAL_URL
from .show import show_rows
from .work import connected

if TYPE_CHECKING:
    from dynatwist.config.node import NodeConfig
    from dynatwist.doctor.seen import ClusterSeen
    from dynatwist.health.finding import Finding
    from dynatwist.sync import Client

ANSWER_S = 5.0
"""For a node to answer; beyond that it is as good as gone."""
COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@click.command()
@click.option("--config", help="The node's file of settings (TOML).")
@click.option("--data-dir", help="The node's data folder.")
@click.option("--key-file", help="The node's key file.")
@click.option("--port", help="The node's port.")
@click.option("--interface", help="The address that the node binds.")
@click.option("--url", "urls", multiple=True, help="Of a node to ask; repeatable.")
@click.pass_obj
def doctor(chosen: Chosen, /, urls: tuple[str, ...], **given: str | None) -> None:
    """Look at this machine and at the cluster, and say what is wrong, and what to do about it.

    The settings are those that a node started here would have: from the options, DYNAKV_* and the file. The exit status
    is 1 when there is a fault.
    """
    from dynatwist.config.sources import Gathered
    from dynatwist.health.finding import fault_said, has_fault

    options = {name.replace("_", "-"): text for name, text in given.items() if text is not None}
    gathered = Gathered(options, os.environ)
    findings = [fault_said("settings", line) for line in gathered.faults]
    if not findings:
        findings = list(_examined(gathered.config, chosen, _checked(urls)))
    _show(chosen, findings)
    if has_fault(findings):
        raise SystemExit(1)


def _checked(urls: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(checked(urls)) if urls else ()
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("urls: "), param_hint="--url") from None


def _examined(config: NodeConfig, chosen: Chosen, urls: tuple[str, ...]) -> Iterator[Finding]:
    from dynatwist.checking import further_faults
    from dynatwist.doctor import cluster, looking, machine
    from dynatwist.health.finding import fault_said

    for line in (*config.faults(), *further_faults(config)):
        yield fault_said("settings", line)
    seen, ports = _asked(config, chosen, urls), looking.look_at_ports(config)
    descriptors = looking.look_at_descriptors(config)
    is_node = descriptors.pid is not None or any(node.url == config.url and not node.problem for node in seen.nodes)
    folder = looking.look_at_folder(config)
    certificates = [looking.look_at_certificate(config.tls_cert)] if config.tls_cert else []
    yield from machine.ports(ports, is_node)
    yield from machine.key_file(looking.look_at_key_file(config))
    for check in (machine.folder, machine.sync, machine.room):
        yield from check(folder)
    yield from machine.descriptors(descriptors)
    for certificate in (*certificates, *seen.certificates):
        yield machine.certificate(certificate, time.time())
    for look in (cluster.answers, cluster.clocks, cluster.members, cluster.versions):
        yield from look(seen)


def _asked(config: NodeConfig, chosen: Chosen, urls: tuple[str, ...]) -> ClusterSeen:
    """The nodes that are named, here or before the command; else the one that these settings are for."""
    from dynatwist.doctor.asking import ask

    named = urls or (chosen.urls if chosen.urls != (USUAL_URL,) else ())

    def connect(nodes: Sequence[str]) -> Client:
        return connected(replace(chosen, urls=tuple(nodes), timeout_s=min(chosen.timeout_s, ANSWER_S)))

    return ask(named or (config.url,), bool(named), connect)


def _show(chosen: Chosen, findings: Sequence[Finding]) -> None:
    if chosen.output in ("", "table"):
        for one in findings:
            advice = f"; {one.advice}" if one.advice else ""
            click.echo(f"{click.style(f'{one.level:8}', COLOURS[one.level])} {one.check}: {one.text}{advice}")
        return
    rows = ((str(one.level), one.check, one.text, one.advice) for one in findings)
    show_rows(chosen, ("level", "check", "text", "advice"), rows)
