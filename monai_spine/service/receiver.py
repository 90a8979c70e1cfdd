"""The C-STORE SCP: takes images from peers on the list, and stores each before it confirms it."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import pydicom
from pydicom.uid import (
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from monai_spine.errors import OutputError
from monai_spine.service.admission import Admission
from monai_spine.service.configuration import DicomListener, Limits
from monai_spine.service.peer_limits import LimitedSocket
from monai_spine.service.tls import server_context

logger = logging.getLogger(__name__)

IMAGES = (
    MRImageStorage,
    EnhancedMRImageStorage,
    EnhancedMRColorImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)
SYNTAXES = [
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless),
    *(*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes),
]
"""Not the deflated one: a small object could unpack to anything."""
OUT_OF_RESOURCES, DOES_NOT_MATCH, CANNOT_UNDERSTAND, SUCCESS = 0xA700, 0xA900, 0xC000, 0x0000
"""Status of a C-STORE response (PS3.4 B.2.3)."""

Store = Callable[[Path, str, str], int]
Count = Callable[[str, str], None]


class Receiver:
    """Listens until it is stopped.

    Parameters
    ----------
    store
        Keeps a file of a study and an instance; returns the status for the peer.
    count
        Called with an event (``association`` or ``refused``) and a word about it, for the metrics.
    """

    def __init__(self, listener: DicomListener, limits: Limits, store: Store, count: Count) -> None:
        self._store, self.count = store, count
        self.limits, self.admission = limits, Admission(listener.peers, limits)
        self._server: _Server | None = None
        self._listener = listener
        quiet_library()
        _config.STORE_RECV_CHUNKED_DATASET = True
        self._entity = AE(listener.ae_title)
        self._entity.require_called_aet = True
        self._entity.maximum_pdu_size = limits.pdu_bytes
        self._entity.maximum_associations = limits.associations
        self._entity.acse_timeout = self._entity.dimse_timeout = limits.handshake_seconds
        self._entity.network_timeout = limits.idle_seconds
        self._entity.add_supported_context(Verification)
        for image in IMAGES:
            self._entity.add_supported_context(image, SYNTAXES)

    def start(self) -> int:
        """Begin to listen; the port.

        Raises
        ------
        OutputError
            If the port cannot be had.
        """
        listener = self._listener
        context = server_context(listener.tls) if listener.tls else None
        handlers = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_DIMSE_RECV, self._message),
            (evt.EVT_C_STORE, self._received),
        ]
        try:
            server = _Server(
                self._entity,
                (listener.address, listener.port),
                listener.ae_title,
                self._entity.supported_contexts,
                evt_handlers=cast("list[Any]", handlers),
                request_handler=_Handler,
            )
        except OSError as error:
            place = f"{listener.address}, port {listener.port}"
            raise OutputError(f"cannot listen on {place}: {error.strerror}; choose another port") from error
        server.prepare(self, context)
        self._entity._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True, name="listener").start()
        self._server = server
        return int(server.server_address[1])

    def associations(self) -> list[Association]:
        """The open ones."""
        return self._server.active_associations if self._server else []

    def stop(self, seconds: float) -> None:
        """Take no more connections, and let open associations end for so long."""
        if self._server is None:
            return
        self._server.shutdown()
        for association in self.associations():
            association.join(seconds)
            if association.is_alive():
                association.abort()
        self._server = None

    def _requested(self, event: evt.Event) -> None:
        association = event.assoc
        request = association.requestor.primitive
        title, address = str(request.calling_ae_title if request else ""), association.requestor.address
        if self.admission.refuses_association(title, str(address)):
            self.refused("ae_title")
            # Rejected permanent, by the user of the service, calling AE title not recognised (PS3.8 9.3.4).
            association.acse.send_reject(0x01, 0x01, 0x03)
            association.kill()
        else:
            self.count("association", "")

    def refused(self, limit: str) -> None:
        """Count and log what a peer may not."""
        self.count("refused", limit)
        logger.warning("a connection was dropped: %s", limit)

    def _message(self, event: evt.Event) -> None:
        if self._server is not None and event.assoc in self._server.limited_sockets:
            self._server.limited_sockets[event.assoc].new_message()

    def _received(self, event: evt.Event) -> int:
        try:
            file = event.dataset_path
            tags = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"]
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, defer_size=1024)
            uids = [str(header.get(tag) or "").strip() for tag in tags]
        except Exception as error:  # of whatever a peer sends as DICOM
            logger.warning("an object was refused: it cannot be read (%s)", type(error).__name__)
            self.count("refused", "unreadable")
            return CANNOT_UNDERSTAND
        request: Any = event.request
        if not all(uids) or uids[:2] != [request.AffectedSOPClassUID, request.AffectedSOPInstanceUID]:
            self.count("refused", "uids")
            logger.warning("an object was refused: its UIDs are missing, or others than those of the request")
            return DOES_NOT_MATCH
        return self._store(Path(file), uids[2], uids[1])


class _Server(ThreadedAssociationServer):
    """Looks at a connection's address before it reads a byte, and sets TLS up in the connection's own thread."""

    daemon_threads = True
    request_queue_size = 32

    def prepare(self, receiver: Receiver, tls: ssl.SSLContext | None) -> None:
        self.receiver, self.tls = receiver, tls
        self.limited_sockets: WeakKeyDictionary[Association, LimitedSocket] = WeakKeyDictionary()

    def get_request(self) -> tuple[socket.socket, Any]:
        return cast("socket.socket", self.socket).accept()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        del request
        open_ones = [str(one.requestor.address) for one in self.active_associations]
        refused = self.receiver.admission.refuses_connection(client_address[0], open_ones)
        if refused:
            self.receiver.refused(refused)
        return not refused

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.receiver.admission.shaking(client_address[0]):
            request.settimeout(self.receiver.limits.handshake_seconds)
            if self.tls is not None:
                request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
                request.do_handshake()
        # Outside of the block: from here on it is counted among the associations, and must not be counted twice.
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address
        self.receiver.refused("tls")


class _Handler(RequestHandler):
    server: _Server

    def _create_association(self) -> Association:
        association = super()._create_association()
        limited_socket = LimitedSocket(association, self.server.receiver.limits, self.server.receiver.refused)
        self.server.limited_sockets[association] = limited_socket
        assert association.dul.socket is not None
        association.dul.socket.recv = limited_socket  # type: ignore[method-assign, assignment]
        _end_on_full_disk(association, self.server.receiver.refused)
        return association


def _end_on_full_disk(association: Association, refused: Callable[[str], None]) -> None:
    """End an association whose image cannot be written while it comes in: pynetdicom's own thread would die of it.

    Its sender keeps the image. What was written is removed, since the room is needed.
    """
    receive = association.dimse.receive_primitive

    def guarded(primitive: Any) -> None:
        try:
            receive(primitive)
        except OSError:
            refused("disk")
            message, association.dimse.message = association.dimse.message, None
            if message is not None and isinstance(message._data_set_path, Path):
                with contextlib.suppress(OSError):
                    message._data_set_path.unlink(missing_ok=True)
                    cast("Any", message._data_set_file).close()
            association.dul.event_queue.put("Evt19")  # as for an invalid message: an abort is sent, and it ends

    association.dimse.receive_primitive = guarded  # type: ignore[method-assign]


def quiet_library() -> None:
    """Silence pynetdicom and pydicom: their messages hold names, UIDs and values of elements."""
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
