"""The audit log of a node: its file, its thread, and what the handlers write to."""

from __future__ import annotations

from twisted.logger import Logger

from dynatwist.api.audit import Audit
from dynatwist.errors import StartError
from dynatwist.runtime import Runtime
from dynatwist.storage.audit import AuditFile


class AuditLog:
    """See the module.

    :param path: of the file; ``None`` for no audit log.
    :param max_bytes: beyond which a new file is begun.
    :param address: of this node, in each line.
    :ivar audit: what is noted goes there.
    :raises StartError: when the file cannot be written.
    """

    log = Logger()

    def __init__(self, path: str | None, max_bytes: int, runtime: Runtime, address: str) -> None:
        self._file: AuditFile | None = None
        self.audit = Audit()
        if path is None:
            return
        self._writer = runtime.new_writer("audit")
        plain = Audit(runtime.wall_ms, address)
        try:
            self._file = AuditFile(
                path,
                max_bytes,
                writer=self._writer,
                dropped=lambda count: plain.line("audit", "dropped", on=(str(count),)),
                trouble=self._trouble,
            )
        except OSError as error:
            raise StartError(f"--audit-log {path}: {error.strerror}") from None
        self.audit = Audit(runtime.wall_ms, address, self._file.append)

    @property
    def lines_dropped(self) -> int:
        """Lines that could not be written."""
        return self._file.lines_dropped if self._file is not None else 0

    def stop(self) -> None:
        """End the thread, behind what it has to write."""
        if self._file is not None:
            self._writer.stop()

    def _trouble(self, failure: BaseException | None) -> None:
        if failure is not None:
            self.log.error("the audit log cannot be written, lines are dropped: {reason}", reason=str(failure))
        else:
            self.log.info("the audit log is written again")
