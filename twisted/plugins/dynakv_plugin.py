"""What twistd finds: one command, ``dynakv``. Nothing of ours is imported until it is used."""

from twisted.application.service import ServiceMaker

dynakv = ServiceMaker(
    "DynaTwist",
    "dynatwist.tap",
    "A leaderless, replicated, encrypted key-value store.",
    "dynakv",
)
