"""Which answers of an archive concern one object, and which concern all."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from monai_spine.errors import InvalidTableError
from monai_spine.service.archive import (
    ArchiveDownError,
    ObjectRefusedError,
    StoreArchive,
    StowArchive,
    open_archive,
)
from monai_spine.service.configuration import DicomArchive, Send, WebArchive
from tests.monai_spine.service.parts import Archive, free_port, image


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{n}.dcm" for n in range(2)]
    for n, file in enumerate(made):
        image(number=n).save_as(file, enforce_file_format=True)
    return made


@contextmanager
def answering(status: int, body: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A web server that gives one answer to all; its URL, and the logins that it was shown."""
    logins = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            logins.append(self.headers.get("Authorization", "").encode())
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web", logins
    finally:
        server.shutdown()
        server.server_close()


FAILED = b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [43264]}}]}}'


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"{}", None),
        (200, FAILED, ObjectRefusedError),
        (409, b"", ObjectRefusedError),
        (400, b"", ObjectRefusedError),
        (401, b"", ArchiveDownError),
        (429, b"", ArchiveDownError),
        (503, b"", ArchiveDownError),
    ],
)
def test_answers_of_a_web_server(files: list[Path], status: int, body: bytes, error: type | None) -> None:
    with answering(status, body) as (url, _):
        archive = StowArchive(WebArchive(url))
        if error is None:
            assert list(archive.send(files)) == files
        else:
            with pytest.raises(error, match=r"status|reason 0xA900"):
                list(archive.send(files))


def test_a_login_is_sent_and_must_be_one(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "login.txt").write_text("me:secret\n")
    with answering(200, b"{}") as (url, logins):
        list(StowArchive(WebArchive(url, login_file=tmp_path / "login.txt")).send(files[:1]))
    assert logins == [b"Basic bWU6c2VjcmV0"]
    (tmp_path / "login.txt").write_text("no colon")
    with pytest.raises(InvalidTableError, match="expected one line user:password"):
        open_archive(Send(dicomweb=WebArchive("http://localhost", login_file=tmp_path / "login.txt")))


def test_nobody_there_concerns_all_objects(files: list[Path]) -> None:
    port = free_port()
    archives = [
        StowArchive(WebArchive(f"http://127.0.0.1:{port}")),
        StoreArchive(DicomArchive("ARCHIVE", "127.0.0.1", port)),
    ]
    for archive in archives:
        with pytest.raises(ArchiveDownError, match="cannot be reached"):
            list(archive.send(files))


def test_an_archive_that_does_not_know_us_concerns_all_objects(files: list[Path]) -> None:
    entity, port = AE("ARCHIVE"), free_port()
    entity.require_calling_aet = ["SOMEBODY"]
    entity.add_supported_context(CTImageStorage)
    server = entity.start_server(("127.0.0.1", port), block=False)
    with pytest.raises(ArchiveDownError, match="rejects our association"):
        list(StoreArchive(DicomArchive("ARCHIVE", "127.0.0.1", port)).send(files))
    entity.require_calling_aet = []
    with pytest.raises(ObjectRefusedError, match="takes none of our objects"):
        list(StoreArchive(DicomArchive("ARCHIVE", "127.0.0.1", port)).send(files))
    server.shutdown()


def test_an_object_that_is_refused_holds_up_no_other(files: list[Path], tmp_path: Path) -> None:
    strange = tmp_path / "strange.dcm"
    image(number=7, Modality="CT").save_as(strange, enforce_file_format=True)
    header = pydicom.dcmread(strange)
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = CTImageStorage
    header.save_as(strange)
    archive = Archive().start()  # takes MR images alone
    sent = []
    try:
        with pytest.raises(ObjectRefusedError, match=r"refused strange\.dcm \(it takes no CT Image Storage\)"):
            for file in StoreArchive(DicomArchive("ARCHIVE", "127.0.0.1", archive.port)).send([strange, *files]):
                sent.append(file)
    finally:
        archive.stop()
    assert sent == files
    with answering(200, FAILED) as (url, logins):
        with pytest.raises(ObjectRefusedError, match=r"0\.dcm.*; 1\.dcm"):
            list(StowArchive(WebArchive(url)).send(files))
        assert len(logins) == 2


def test_objects_are_confirmed_one_by_one(files: list[Path], archive: Archive) -> None:
    sending = StoreArchive(DicomArchive("ARCHIVE", "127.0.0.1", archive.port)).send(files)
    assert next(sending) == files[0]
    archive.status = 0xA700
    with pytest.raises(ObjectRefusedError, match="0xA700"):
        next(sending)
    archive.status = 0xB000  # a warning: it has the object
    assert list(StoreArchive(DicomArchive("ARCHIVE", "127.0.0.1", archive.port)).send(files)) == files
