"""What users and administrators are known by, derived from the cluster's secrets."""

from __future__ import annotations

from hashlib import blake2b

from dynatwist.storage.keyring import TOKEN, ClusterKeys

from .tokens import TokenKeys

MARK_BYTES = 8
"""Of the mark of an administrator's password in a token: it tells passwords apart, and does not help to guess one."""


def admin_passwords(keys: ClusterKeys, configured: str | None) -> tuple[str, ...]:
    """The administrator's passwords: the configured one, else what follows from each secret."""
    return (configured,) if configured else keys.admin_passwords()


def token_keys(keys: ClusterKeys, passwords: tuple[str, ...]) -> TokenKeys:
    """The keys that sign tokens, and the marks of the passwords that administrators' tokens were given for."""
    marks = tuple(
        blake2b(password.encode(), key=key, digest_size=MARK_BYTES).hexdigest()
        for key in keys.derive_all(b"admin mark")
        for password in passwords
    )
    return TokenKeys(keys.derive_all(TOKEN), marks, keys.token_keys)
