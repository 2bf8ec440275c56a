"""What ``twistd dynakv --check-config`` looks at besides the settings themselves: files and folders."""

from __future__ import annotations

import os

from OpenSSL import SSL

from dynatwist.config.node import NodeConfig
from dynatwist.errors import StartError
from dynatwist.storage.keyfile import load_or_create
from dynatwist.web.front import client_tls


def check_files(config: NodeConfig) -> None:
    """See that a node could use its files and folders; none is made.

    :raises StartError: one line.
    """
    key_file = config.actual_key_file
    if os.path.exists(key_file):
        load_or_create(key_file)
    _check_folder(os.path.dirname(key_file), "--key-file")
    _check_folder(config.actual_data_dir, "--data-dir")
    if config.audit_log:
        _check_folder(os.path.dirname(os.path.abspath(config.audit_log)), "--audit-log")
    if config.tls_cert is not None and config.tls_key is not None:
        _check_certificate(config.tls_cert, config.tls_key)


def _check_folder(path: str, option: str) -> None:
    """See that a folder is there and can be written, or can be made."""
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise StartError(f"{option} {path}: {there} is no folder; choose another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StartError(f"{option} {path}: this user may not write {there}; choose another, or change its owner")


def _check_certificate(certificate: str, key: str) -> None:
    try:
        client_tls(certificate, key)
    except SSL.Error:
        raise StartError(f"{certificate}, {key}: no certificate and key that belong together") from None
