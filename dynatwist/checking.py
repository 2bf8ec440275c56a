"""What ``twistd dynakv --check-config`` looks at besides the settings themselves: files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dynatwist.config.node import NodeConfig
from dynatwist.errors import StartError
from dynatwist.scheduled.plan import plan_of
from dynatwist.storage.keyfile import load_or_create
from dynatwist.tracing.chosen import tracer_of
from dynatwist.web.certificates import files_of, load


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
    files = files_of(config)
    if files is not None and all(os.access(path, os.R_OK) for path in files.paths):  # else the configuration has told
        try:
            load(files)
        except StartError as error:
            yield str(error)
    try:
        tracer_of(config.otel_endpoint, config.otel_sample, {}, lambda text: None)
    except StartError as error:
        yield str(error)
    try:
        plan_of(config)
    except StartError as error:
        yield str(error)
    if config.backup_folder:
        yield from folder_faults(os.path.abspath(config.backup_folder), "--backup-folder")


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
