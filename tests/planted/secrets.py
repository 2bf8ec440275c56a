"""Mistakes in changing a storage secret: `tests/test_secrets_storage.py` cuts power behind every step of the disk."""

from __future__ import annotations

from dynatwist import core
from dynatwist.cluster.identity import DurableIdentity
from dynatwist.storage.keyring import Keyring
from dynatwist.storage.renewal import Renewal

from .edits import edit


def the_old_data_key_goes_with_the_first_save(patch):
    """Nobody looks whether the save before, or its log, needs the key that is forgotten."""
    edit(patch, Renewal, "_look", "elif old & found:", "elif False:")


def the_new_data_key_seals_before_it_is_durable(patch):
    """The identity files get the new key with the next thing that they are written for."""
    edit(patch, DurableIdentity, "renew_data_key", "self._save()", "pass")


def the_new_storage_secret_is_used_before_it_is_durable(patch):
    """The identity is sealed by a secret that is in no key file."""
    words = "kept = self._keep(lambda keys: keys.with_storage(secret, known))"
    edit(patch, Keyring, "renew_storage", words, "kept = None")


def the_old_storage_secret_is_erased_at_once(patch):
    """It is gone from the key file before the identity is sealed by the new one."""
    words = "keys = self._keyring.keys\n"
    edit(patch, Renewal, "renew", words, f"{words}    self._keyring.retire_storage(frozenset(map(name_of, before)))\n")


def a_start_in_the_middle_knows_the_new_data_key_only(patch):
    """What a start finds is opened by the key in use, though some of it is not sealed anew yet."""
    edit(patch, core, "open_folder", "identity.data_keys, identity.registry", "identity.data_key, identity.registry")
