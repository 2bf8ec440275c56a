"""What twistd finds: ``dynakv``, and its like for demos and tests. Nothing of ours is imported until it is used."""

from twisted.application.service import ServiceMaker

dynakv = ServiceMaker(
    "DynaTwist",
    "dynatwist.tap",
    "A leaderless, replicated, encrypted key-value store.",
    "dynakv",
)

dynakv_local = ServiceMaker(
    "DynaTwist on a leash",
    "dynatwist.local.leash",
    "The same, ended with the process that started it; for demos and tests.",
    "dynakv-local",
)
