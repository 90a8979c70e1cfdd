"""Bytes from a peer, with a deadline and a size for all of them.

pynetdicom reads what a PDU's header promises, however large and however slowly it comes; a peer that sends one byte a
minute, or announces 4 GiB, would hold a thread or the memory for ever.
"""

from __future__ import annotations

import contextlib
import socket
import time
import weakref
from collections.abc import Callable

from pynetdicom.association import Association

from monai_spine.service.configuration import Limits

_PIECE = 65536
_SLACK = 65536
"""Bytes that the request of an association, and the headers of a PDU, may have beyond ``pdu_bytes``."""
_WAITING_MESSAGES = 2
"""A sender waits for each answer (PS3.7 D.3.3.3: one operation at a time, unless negotiated)."""


class LimitedSocket:
    """Reads for one association; takes the place of ``AssociationSocket.recv``.

    Parameters
    ----------
    refused
        Called with the name of the limit that a peer broke.
    """

    def __init__(self, association: Association, limits: Limits, refused: Callable[[str], None]) -> None:
        # Weak: the server knows the limited_socket of each association, and would keep every association that ever was.
        self._association: Association = weakref.proxy(association)
        self._limits, self._refused = limits, refused
        self._begin = time.monotonic()
        self._deadline = self._begin + limits.handshake_seconds
        self._message = 0

    def new_message(self) -> None:
        """A message has come whole."""
        self._message = 0

    def __call__(self, size: int) -> bytearray:
        """Read that many bytes of a PDU: first the 6 of its header, then the rest.

        Raises
        ------
        OSError
            If the peer breaks a limit; pynetdicom then ends the association.
        """
        connection = self._association.dul.socket.socket if self._association.dul.socket else None
        if connection is None:
            raise OSError("the connection is closed")
        header = size == 6  # a PDU's body of 6 bytes has a fresh deadline, which changes nothing
        now = time.monotonic()
        if header:
            self._deadline = now + self._limits.message_seconds
        if not self._association.is_established:
            self._deadline = min(self._deadline, self._begin + self._limits.handshake_seconds)
        self._message += size
        self._check(size, now, connection)
        read = bytearray()
        while len(read) < size:
            rest = self._deadline - time.monotonic()
            if rest <= 0:
                self._end("message_seconds", connection)
            connection.settimeout(rest)
            try:
                piece = connection.recv(min(_PIECE, size - len(read)))
            except TimeoutError:
                self._end("message_seconds", connection)
            finally:
                with contextlib.suppress(OSError):
                    connection.settimeout(self._limits.message_seconds)  # for what is sent to the peer
            if not piece:
                break
            read += piece
        return read

    def _check(self, size: int, now: float, connection: socket.socket) -> None:
        if size > self._limits.pdu_bytes + _SLACK:
            self._end("pdu_bytes", connection)
        if self._message > self._limits.object_mb * 1e6 + _SLACK:
            self._end("object_mb", connection)
        if now - self._begin > self._limits.association_seconds:
            self._end("association_seconds", connection)
        if self._association.dimse.msg_queue.qsize() > _WAITING_MESSAGES:
            self._end("messages without waiting for answers", connection)

    def _end(self, limit: str, connection: socket.socket) -> None:
        self._refused(limit)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        raise OSError(f"the peer broke the limit {limit}")
