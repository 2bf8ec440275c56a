"""twistd with a node whose websockets send each message back: in twistd's place where only their frames are tested.

Everything below the messages stays the node's own: the channel, the handshake, the limits, the order of answers.
"""

from __future__ import annotations

from typing import Any

from twisted.scripts.twistd import run

from dynatwist.api.session import Session
from dynatwist.web.websocket import KvSocket


async def _send_back(self: Session, payload: bytes) -> int:
    self._send(payload)
    return len(payload)


def _on_message(self: Any, payload: bytes, isBinary: bool) -> None:
    if isBinary:
        self.sendMessage(payload, True)
    else:
        self._pipeline.offer(payload)


if __name__ == "__main__":
    Session.receive = _send_back  # type: ignore[method-assign]
    KvSocket.onMessage = _on_message  # type: ignore[method-assign]
    run()
