"""What is to be said of a machine that runs a node, or is to: from what was seen to findings."""

from __future__ import annotations

import os
from statistics import median

from dynatwist.exposure import OTHERS
from dynatwist.health.finding import Finding, Findings, fault, fault_said, ok, warning

from .seen import CertificateSeen, DescriptorsSeen, FolderSeen, KeyFileSeen, PortSeen

SLOW_SYNC_S = 0.02
"""A write waits for at least one sync. Disks that keep their promise take a millisecond, or ten when they turn."""
STUCK_SYNC_S = 0.125
"""An owner whose log takes longer is not waited for by those who decide about conditions."""
FEW_DESCRIPTORS = 4096
"""What Linux and systemd let a process have at least, and too few for some thousand listeners."""
TOO_FEW_DESCRIPTORS = 256
"""64 are for files, a quarter for connections between nodes: little more than a hundred clients are left."""
SOON_S = 21 * 24 * 3600.0
"""A certificate is renewed a month before its end by whoever renews it by himself; later, something is stuck."""
PASSING = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/")  # noqa: S108 - named to warn of them
"""Folders that are emptied when the machine starts, or from time to time."""
VOLATILE = ("tmpfs", "ramfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs")


def ports(seen: tuple[PortSeen, ...], is_node: bool) -> Findings:
    """Whether a node can have its ports, or has them.

    :param is_node: whether a node answers at the port for clients.
    """
    for port in seen:
        if not port.problem:
            yield ok("ports", f"{port.name} is free")
        elif port.is_taken and is_node:
            yield ok("ports", f"{port.name} is taken, and a node answers here")
        elif port.is_taken:
            yield fault("ports", f"{port.name} is taken, and not by a node", f"choose another with {port.option}")
        else:
            yield fault("ports", f"{port.name}: {port.problem}", f"choose another with {port.option}, or --interface")


def key_file(seen: KeyFileSeen) -> Findings:
    """Whether the key file can be used, and by nobody else."""
    where, check = os.path.dirname(seen.path), "key file"
    if seen.problem:
        yield fault_said(check, seen.problem)
    elif not seen.is_there:
        text = f"{seen.path} is not there; the first start makes it"
        yield warning(check, text, "for a further node of a cluster, copy that cluster's key file there first")
    else:
        yield ok(check, f"{seen.path}, mode {seen.mode:04o}")
    if seen.folder_mode is not None and seen.folder_mode & 0o022 and not seen.folder_mode & 0o1000:
        text = f"others may write in {where} (mode {seen.folder_mode:04o}), and put another key file in its place"
        yield fault(check, text, f"run: chmod go-w {where}")
    if _is_below(seen.path, seen.data_folder):
        text = "the key file is in the data folder; whoever gets a copy of that folder can read it"
        yield warning(check, text, "move it, and say where it is with --key-file")
    yield from _place(check, "key file", seen.path, "--key-file")


def _place(check: str, what: str, path: str, option: str) -> Findings:
    if path.startswith(PASSING):
        yield warning(check, f"the {what} {path} is in a folder that gets emptied", f"choose another with {option}")


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def folder(seen: FolderSeen) -> Findings:
    """Whether the data folder can be used, by nobody else, and is on a disk that keeps what it is given."""
    check = "data folder"
    if seen.problem:
        yield fault_said(check, seen.problem)
    elif seen.mode is None:
        yield ok(check, f"{seen.path} is not there yet; the first start makes it")
    elif seen.mode & OTHERS:
        yield warning(check, f"{seen.path} has mode {seen.mode:04o}, open to others", f"run: chmod 700 {seen.path}")
    else:
        yield ok(check, f"{seen.path}, mode {seen.mode:04o}")
    if seen.file_system in VOLATILE:
        text = f"{seen.path} is in memory ({seen.file_system}); it is gone when the machine stops"
        yield warning(check, text, "choose a folder on a disk with --data-dir")
    elif seen.file_system in REMOTE:
        text = f"{seen.path} is on another machine ({seen.file_system}), whose syncs and locks are not always kept"
        yield warning(check, text, "choose a folder on a disk of this machine with --data-dir")
    else:
        yield from _place(check, "data folder", seen.path, "--data-dir")


def sync(seen: FolderSeen) -> Findings:
    """How long the disk takes until a small write is safe."""
    check = "fsync"
    if not seen.syncs_s:
        return
    usual_s, worst_s = median(seen.syncs_s), max(seen.syncs_s)
    text = f"{1000 * usual_s:.2f} ms usually, {1000 * worst_s:.2f} ms at worst, of {len(seen.syncs_s)}"
    if usual_s >= STUCK_SYNC_S:
        yield fault(check, text, "each write waits so long; use a disk that syncs in less than 20 ms")
    elif usual_s >= SLOW_SYNC_S or worst_s >= STUCK_SYNC_S:
        yield warning(check, text, "each write waits so long; see what else uses this disk, or use a faster one")
    else:
        yield ok(check, text)


def room(seen: FolderSeen) -> Findings:
    """How much is left on the disk."""
    check = "disk"
    text = f"{_bytes(seen.free_bytes)} of {_bytes(seen.total_bytes)} free, reserve {_bytes(seen.reserve_bytes)}"
    if seen.free_bytes < seen.reserve_bytes:
        yield fault(check, text, "writes that add are refused; delete something, or lower --disk-reserve")
    elif seen.free_bytes < 2 * seen.reserve_bytes:
        yield warning(check, text, "make room before only the reserve is left")
    else:
        yield ok(check, text)


def descriptors(seen: DescriptorsSeen) -> Findings:
    """How many files and sockets a node may have open."""
    check = "descriptors"
    whose = "here" if seen.pid is None else f"for the node that runs (process {seen.pid})"
    text = f"at most {seen.limit:,} {whose}" + ("" if seen.used is None else f", which has {seen.used:,}")
    advice = "raise it: ulimit -Hn, or LimitNOFILE= in the unit"
    if seen.limit < TOO_FEW_DESCRIPTORS:
        yield fault(check, text, advice)
    elif seen.limit < FEW_DESCRIPTORS or 10 * (seen.used or 0) > 9 * seen.limit:
        yield warning(check, text, advice)
    else:
        yield ok(check, text)


def certificate(seen: CertificateSeen, now_s: float) -> Finding:
    """When a certificate ends."""
    check, renew = "certificate", "renew it; nodes take a new file without a restart"
    if seen.ends_s is None:
        return fault(check, f"{seen.where}: {seen.problem}", "see --tls-cert in docs/operating.rst")
    days = (seen.ends_s - now_s) / 86400
    if days < 0:
        return fault(check, f"{seen.where} ended {-days:.0f} days ago", renew)
    text = f"{seen.where} is good for {days:.0f} more days"
    return warning(check, text, renew) if days * 86400 < SOON_S else ok(check, text)


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
