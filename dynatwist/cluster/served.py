"""Which kinds of messages are served to whom.

Whoever has the cluster key can open a link. That alone makes nobody a member: a node asks to join, and is one once the
registry says so. Until then, and after it was struck out, it is told what the registry is, and served nothing else.

===============  =====================================================================================================
anybody          `Hello`, `Refused`, `Ping`: the link itself answers them (`dynatwist.net.link`).
                 `Join`; `Status` and `Leaving`, which concern the sender alone; `RegistryIs`, which of a stranger is
                 hearsay (`dynatwist.agreement.hearsay`)
struck out       `PullFromMe` besides: what it alone holds must not be lost. It is asked for records, and told how far
                 others' clocks are; nothing that it says of the registry or the time counts
members          everything: those of the present registry, and while it changes, of the one before
===============  =====================================================================================================
"""

from __future__ import annotations

from typing import Any

from dynatwist.net.messages import Join, Leaving, PullFromMe, RegistryIs, Status

TO_ANYBODY: frozenset[type[Any]] = frozenset({Join, Leaving, RegistryIs, Status})
TO_STRUCK_OUT = TO_ANYBODY | {PullFromMe}
NOT_A_MEMBER = "not a member"
