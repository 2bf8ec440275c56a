"""What travels on a peer link: msgpack arrays, the first element names the kind.

Calls expect one reply each; what is marked one-way expects none. `registry` in a call is the version of the registry
that the sender went by: an older one is answered with `StaleRegistry`.
"""

from __future__ import annotations

from .backups import SettledTables, SettleTables
from .base import WIRE_VERSION
from .conflicts import ConflictsAre, ConflictsFetched, FetchConflicts, ListConflicts, SettleConflicts
from .feeds import BookmarkIs, Listen, Listening, Relay
from .greeting import Done, Hello, Leaving, Ping, Refused, StaleRegistry, Status, Unable
from .insight import AskCondition, AskHistory, AskWaiting, ConditionIs, HistoryIs, WaitingAre
from .members import Accept, Join, KeysAre, Prepare, RegistryIs, Rekey, Settle, Voted
from .records import Compare, DotHeld, Fetch, Fetched, Forward, Held, Outcome, ReadDot, Replicate, Scan, Scanned
from .registers import CellsAre, Chose, CompareCells, CountTable, Poll, Polled, PullCells, Question, TableCounted
from .repair import (
    BucketEntries,
    Buckets,
    BucketsAre,
    ClocksAre,
    Differing,
    DurableClocks,
    EntriesAre,
    Pull,
    Pulled,
    PullFromMe,
    Restored,
    Summaries,
)
from .tables import ListTables, TablesAre

AnyMessage = (
    Hello
    | Refused
    | Ping
    | Done
    | StaleRegistry
    | Unable
    | Replicate
    | Compare
    | Held
    | ReadDot
    | DotHeld
    | Fetch
    | Fetched
    | Forward
    | Outcome
    | Scan
    | Scanned
    | Summaries
    | Differing
    | Pull
    | Pulled
    | Buckets
    | BucketsAre
    | BucketEntries
    | EntriesAre
    | DurableClocks
    | ClocksAre
    | Join
    | Prepare
    | Accept
    | Voted
    | RegistryIs
    | Status
    | Relay
    | BookmarkIs
    | Listen
    | Listening
    | Leaving
    | Settle
    | PullFromMe
    | Restored
    | Rekey
    | KeysAre
    | Poll
    | Polled
    | Chose
    | PullCells
    | CellsAre
    | CountTable
    | TableCounted
    | CompareCells
    | ListConflicts
    | ConflictsAre
    | FetchConflicts
    | ConflictsFetched
    | SettleConflicts
    | ListTables
    | TablesAre
    | SettleTables
    | SettledTables
    | AskCondition
    | ConditionIs
    | AskHistory
    | HistoryIs
    | AskWaiting
    | WaitingAre
)

__all__ = [
    "WIRE_VERSION",
    "Accept",
    "AnyMessage",
    "AskCondition",
    "AskHistory",
    "AskWaiting",
    "BookmarkIs",
    "BucketEntries",
    "Buckets",
    "BucketsAre",
    "CellsAre",
    "Chose",
    "ClocksAre",
    "Compare",
    "CompareCells",
    "ConditionIs",
    "ConflictsAre",
    "ConflictsFetched",
    "CountTable",
    "Differing",
    "Done",
    "DotHeld",
    "DurableClocks",
    "EntriesAre",
    "Fetch",
    "FetchConflicts",
    "Fetched",
    "Forward",
    "Held",
    "Hello",
    "HistoryIs",
    "Join",
    "KeysAre",
    "Leaving",
    "ListConflicts",
    "ListTables",
    "Listen",
    "Listening",
    "Outcome",
    "Ping",
    "Poll",
    "Polled",
    "Prepare",
    "Pull",
    "PullCells",
    "PullFromMe",
    "Pulled",
    "Question",
    "ReadDot",
    "Refused",
    "RegistryIs",
    "Rekey",
    "Relay",
    "Replicate",
    "Restored",
    "Scan",
    "Scanned",
    "Settle",
    "SettleConflicts",
    "SettleTables",
    "SettledTables",
    "StaleRegistry",
    "Status",
    "Summaries",
    "TableCounted",
    "TablesAre",
    "Unable",
    "Voted",
    "WaitingAre",
]
