"""Archives that results are sent to, by C-STORE or by STOW-RS: each object is confirmed by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE

from monai_spine.errors import InvalidTableError, SpineError
from monai_spine.service.configuration import DicomArchive, Send, WebArchive, WebSource
from monai_spine.service.tls import client_context

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient
    from requests import Session

_SECONDS = 30.0
"""For a connection, and for each answer."""
_LATER = frozenset({401, 403, 404, 408, 425, 429})
"""Answers of a web server that concern all objects: a login, a path, too many requests."""
_WARNINGS = range(0xB000, 0xC000)
"""The archive has the object, and changed elements of it (PS3.4 B.2.3)."""


class ArchiveDownError(SpineError):
    """An archive cannot be reached, or does not let us in: all objects wait."""


class ObjectRefusedError(SpineError):
    """An archive does not take this object."""


class Archive(Protocol):
    """Takes objects."""

    def send(self, files: Sequence[Path]) -> Iterator[Path]:
        """Send objects; yields each that the archive has confirmed.

        Raises
        ------
        ArchiveDownError
            At once, if the archive cannot take more.
        ObjectRefusedError
            After all others were sent, if it refused some.
        """
        ...


def open_archive(send: Send) -> Archive:
    """The archive of a configuration.

    Raises
    ------
    SpineError
        If files of TLS or of the login cannot be used.
    """
    if send.dicom is not None:
        return StoreArchive(send.dicom)
    assert send.dicomweb is not None
    return StowArchive(send.dicomweb)


class StoreArchive:
    """A C-STORE SCU."""

    def __init__(self, archive: DicomArchive) -> None:
        self._archive = archive
        self._tls = (client_context(archive.tls), archive.address) if archive.tls else None

    def send(self, files: Sequence[Path]) -> Iterator[Path]:
        """As `Archive`."""
        archive, entity = self._archive, AE(self._archive.calling_ae_title)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
        for uid in {_sop_class(file) for file in files}:
            entity.add_requested_context(uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        place = f"{archive.ae_title} at {archive.address}, port {archive.port}"
        association = entity.associate(archive.address, archive.port, ae_title=archive.ae_title, tls_args=self._tls)
        if not association.is_established:
            if association.rejected_contexts:
                raise ObjectRefusedError(f"{place} takes none of our objects")
            why = "rejects our association" if association.is_rejected else "cannot be reached"
            raise ArchiveDownError(f"{place} {why}")
        refused: dict[Path, str] = {}
        try:
            for file in files:
                try:
                    answer = association.send_c_store(file)
                except ValueError:  # no presentation context was accepted
                    refused[file] = f"it takes no {_sop_class(file).name}"
                    continue
                except RuntimeError as error:
                    raise ArchiveDownError(f"{place} ended the association") from error
                status = answer.get("Status")
                if status is None:
                    raise ArchiveDownError(f"{place} ended the association, or did not answer in {_SECONDS:g} s")
                if status != 0 and status not in _WARNINGS:
                    refused[file] = f"status 0x{status:04X}"
                else:
                    yield file
        finally:
            if association.is_established:
                association.release()
        _raise_refused(place, refused)


def _raise_refused(place: str, refused: Mapping[Path, str]) -> None:
    if refused:
        reasons = "; ".join(f"{file.name} ({why})" for file, why in refused.items())
        raise ObjectRefusedError(f"{place} refused {reasons}")


def _sop_class(file: Path) -> pydicom.uid.UID:
    meta = pydicom.filereader.read_file_meta_info(file)
    return pydicom.uid.UID(meta.MediaStorageSOPClassUID)


class StowArchive:
    """A STOW-RS client."""

    def __init__(self, archive: WebArchive) -> None:
        self._client = web_client(archive)

    def send(self, files: Sequence[Path]) -> Iterator[Path]:
        """As `Archive`."""
        from requests import HTTPError, RequestException

        refused: dict[Path, str] = {}
        for file in files:
            try:
                answer = self._client.store_instances([pydicom.dcmread(file)])
            except HTTPError as error:
                status = error.response.status_code if error.response is not None else 500
                if status >= 500 or status in _LATER:
                    raise ArchiveDownError(f"the archive answered with the status {status}") from error
                refused[file] = f"status {status}"
                continue
            except RequestException as error:
                raise ArchiveDownError(f"the archive cannot be reached ({type(error).__name__})") from error
            if answer.get("FailedSOPSequence"):
                reason = answer.FailedSOPSequence[0].get("FailureReason", 0)
                refused[file] = f"reason 0x{reason:04X}"
            else:
                yield file
        _raise_refused("the archive", refused)


def web_client(web: WebArchive | WebSource) -> DICOMwebClient:
    """A client of a DICOMweb server.

    Raises
    ------
    InvalidTableError, InvalidOptionError
        If the login or files of TLS cannot be used.
    """
    from dicomweb_client.web import DICOMwebClient

    logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL + 1)
    client = DICOMwebClient(web.url, session=_session(web), timeout=_SECONDS)
    client.set_http_retry_params(retry=False)  # waits of our own, which end when the service ends
    return client


def _session(web: WebArchive | WebSource) -> Session:
    from requests import Session

    session = Session()
    # Neither a proxy nor a login comes from the environment: the configuration alone says where images go.
    session.trust_env = False
    if web.tls is not None:
        client_context(web.tls)  # its errors name the file
        session.verify = str(web.tls.authority)
        if web.tls.certificate is not None and web.tls.key is not None:
            session.cert = (str(web.tls.certificate), str(web.tls.key))
    if web.login_file is not None:
        user, separator, password = web.login_file.read_text(encoding="utf-8").strip().partition(":")
        if not separator or not user:
            raise InvalidTableError(f"{web.login_file}: expected one line user:password")
        session.auth = (user, password)
    return session
