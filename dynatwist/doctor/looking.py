"""Looking at this machine, for the doctor: files, ports and the disk, as the node's own starting code sees them."""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
import time

from cryptography import x509

from dynatwist.checking import folder_faults
from dynatwist.config.node import NodeConfig
from dynatwist.errors import StartError
from dynatwist.ports import Port, ports_of
from dynatwist.storage.files import RealFileSystem
from dynatwist.storage.keyfile import load_or_create
from dynatwist.storage.room import usual_reserve_bytes

from .seen import CertificateSeen, DescriptorsSeen, FolderSeen, KeyFileSeen, PortSeen

SYNCS, SYNCS_S = 100, 1.0
"""How many writes are synced to see how long that takes, and how many seconds that may take in all."""
SYNC_BYTES = 4096
"""What is written before each; a group of small records."""


def look_at_ports(config: NodeConfig) -> tuple[PortSeen, ...]:
    """Whether each port could be bound."""
    return tuple(_port(port) for port in ports_of(config))


def _port(port: Port) -> PortSeen:
    error = port.obstacle()
    if error is None:
        return PortSeen(port.name, port.option)
    return PortSeen(port.name, port.option, error.strerror or str(error), error.errno == errno.EADDRINUSE)


def look_at_key_file(config: NodeConfig) -> KeyFileSeen:
    """The key file as it is; none is made."""
    path = config.actual_key_file
    folder, is_there = os.path.dirname(path), os.path.lexists(path)
    problem = next(folder_faults(folder, "--key-file"), "")
    if is_there:
        try:
            load_or_create(path)
        except StartError as error:
            problem = str(error)
    return KeyFileSeen(
        path=path,
        is_there=is_there,
        mode=_mode(path) or 0,
        folder_mode=_mode(folder),
        problem=problem,
        data_folder=config.actual_data_dir,
    )


def _mode(path: str) -> int | None:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return None


def look_at_folder(config: NodeConfig) -> FolderSeen:
    """The data folder, and how quickly its disk makes things safe."""
    path = there = config.actual_data_dir
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    problem = next(folder_faults(path, "--data-dir"), "")
    syncs_s: tuple[float, ...] = ()
    free_bytes, total_bytes = RealFileSystem().room(there)
    reserve_bytes = config.disk_reserve_bytes
    if not problem:
        try:
            syncs_s = _time_syncs(there)
        except OSError as error:
            problem = f"nothing can be written in {there}: {error.strerror}; choose another with --data-dir"
    return FolderSeen(
        path=path,
        mode=_mode(path),
        problem=problem,
        file_system=_file_system(there),
        free_bytes=free_bytes,
        total_bytes=total_bytes,
        reserve_bytes=usual_reserve_bytes(total_bytes) if reserve_bytes is None else reserve_bytes,
        syncs_s=syncs_s,
    )


def _time_syncs(folder: str) -> tuple[float, ...]:
    """Seconds until each of some writes was on the disk, in a file that is gone afterwards."""
    found: list[float] = []
    with tempfile.TemporaryFile(dir=folder, prefix="doctor-", buffering=0) as file:
        end_s = time.monotonic() + SYNCS_S
        while len(found) < SYNCS and time.monotonic() < end_s:
            began_s = time.monotonic()
            file.write(os.urandom(SYNC_BYTES))
            os.fdatasync(file.fileno())
            found.append(time.monotonic() - began_s)
    return tuple(found)


def _file_system(path: str) -> str:
    """The kind of file system that a folder is on; the last mount that is above it, since later ones cover earlier."""
    found, longest = "", -1
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
            mounts = [line.split(" ") for line in file]
    except OSError:
        return ""
    real = os.path.realpath(path)
    for _, point, kind, *_rest in mounts:
        point = point.replace("\\040", " ")
        if os.path.commonpath([real, point]) == point and len(point) >= longest:
            found, longest = kind, len(point)
    return found


def look_at_descriptors(config: NodeConfig) -> DescriptorsSeen:
    """The limit of the node that runs in the data folder; else that which a node started here would have."""
    pid = _holder(os.path.join(config.actual_data_dir, "lock"))
    if pid is not None:
        try:
            _, limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            return DescriptorsSeen(_finite(limit), pid, len(os.listdir(f"/proc/{pid}/fd")))
        except (OSError, AttributeError):  # another user's process, or no Linux
            pass
    return DescriptorsSeen(_finite(resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _finite(limit: int) -> int:
    return limit if limit != resource.RLIM_INFINITY else 1 << 20


def _holder(path: str) -> int | None:
    """The process that has locked a file, where Linux tells."""
    try:
        wanted = str(os.stat(path).st_ino)
        with open("/proc/locks", encoding="ascii") as file:
            locks = [line.split() for line in file]
    except OSError:
        return None
    for lock in locks:
        if lock[1] == "FLOCK" and lock[5].rpartition(":")[2] == wanted and int(lock[4]) > 0:
            return int(lock[4])
    return None


def look_at_certificate(path: str) -> CertificateSeen:
    """The certificate of a file: the first one, which is what clients are shown."""
    try:
        with open(path, "rb") as file:
            return certificate_seen(path, file.read())
    except OSError as error:
        return CertificateSeen(path, problem=error.strerror or "cannot be read")


def certificate_seen(where: str, pem: bytes) -> CertificateSeen:
    """When a certificate ends."""
    try:
        return CertificateSeen(where, x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp())
    except ValueError:
        return CertificateSeen(where, problem="no certificate in PEM")
