"""What ``twistd dynakv --check-config`` looks at besides the settings themselves: files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator

from OpenSSL import SSL

from dynatwist.config.node import NodeConfig
from dynatwist.errors import StartError
from dynatwist.storage.keyfile import load_or_create
from dynatwist.web.front import client_tls


def file_faults(config: NodeConfig) -> Iterator[str]:
    """A line for each reason why a node could not use its files and folders; none is made."""
    key_file = config.actual_key_file
    if os.path.exists(key_file):
        try:
            load_or_create(key_file)
        except StartError as error:
            yield str(error)
    yield from folder_faults(os.path.dirname(key_file), "--key-file")
    yield from folder_faults(config.actual_data_dir, "--data-dir")
    yield from further_faults(config)


def further_faults(config: NodeConfig) -> Iterator[str]:
    """The same, of the files that a node need not have: an audit log, a certificate."""
    if config.audit_log:
        yield from folder_faults(os.path.dirname(os.path.abspath(config.audit_log)), "--audit-log")
    if config.tls_cert is not None and config.tls_key is not None:
        yield from _certificate_faults(config.tls_cert, config.tls_key)


def folder_faults(path: str, option: str) -> Iterator[str]:
    """Whether a folder is there and can be written, or can be made; a line where not.

    :param option: that chooses it.
    """
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        yield f"{option} {path}: {there} is no folder; choose another"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f"{option} {path}: this user may not write {there}; choose another, or change its owner"


def _certificate_faults(certificate: str, key: str) -> Iterator[str]:
    if os.access(certificate, os.R_OK) and os.access(key, os.R_OK):  # else the configuration has told
        try:
            client_tls(certificate, key)
        except SSL.Error:
            yield f"{certificate}, {key}: no certificate and key that belong together"
