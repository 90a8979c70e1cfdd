"""A service with a stand-in grader, senders, archives and small studies, for tests."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt

from monai_spine.dicom_out.writer import write_objects
from monai_spine.service.configuration import (
    Configuration,
    DicomArchive,
    DicomListener,
    Http,
    Keep,
    Limits,
    Peer,
    Receive,
    Retry,
    Send,
    Study,
)
from monai_spine.service.grading import GRADED, GradedFiles
from monai_spine.service.service import Service

PATIENT = "Mustermann^Erika"
QUICK = Limits(handshake_seconds=5, message_seconds=5, idle_seconds=5, free_gb=0)


def image(study: str = "1.2.3", number: int = 1, **elements: object) -> pydicom.Dataset:
    made = pydicom.Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, f"{study}.1.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = study, f"{study}.1"
    made.PatientName, made.PatientID, made.Modality = PATIENT, "KH-4711", "MR"
    made.InstanceNumber = number
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = (
        MRImageStorage,
        made.SOPInstanceUID,
    )
    return made


def stand_in(received: Path, out: Path) -> GradedFiles:
    """One object for each study, which says how many images there were."""
    files = sorted(received.glob("*.dcm"))
    header = pydicom.dcmread(files[0])
    result = image(header.StudyInstanceUID, 9000 + len(files), ImageComments=f"{len(files)} images")
    write_objects(out, {"result.dcm": result})
    return GradedFiles(GRADED, "", (out / "result.dcm",), 0.1)


class Archive:
    """Keeps what it is sent in memory; refuses or vanishes as told."""

    def __init__(self) -> None:
        self.objects: dict[str, pydicom.Dataset] = {}
        self.times: list[str] = []
        self.status = 0x0000
        self.port = free_port()
        self._entity = AE("ARCHIVE")
        self._entity.add_supported_context(MRImageStorage)
        self._server: object = None

    def take(self, *classes: str) -> "Archive":
        """Take objects of further classes, too; before the start."""
        for one in classes:
            self._entity.add_supported_context(one)
        return self

    def start(self) -> "Archive":
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = self._entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
        self._server = None

    def _store(self, event: evt.Event) -> int:
        if not self.status:
            dataset = event.dataset
            self.objects[str(dataset.SOPInstanceUID)] = dataset
            self.times.append(str(dataset.SOPInstanceUID))
        return self.status


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def configuration(folder: Path, archive: int = 1, **parts: object) -> Configuration:
    listener = DicomListener((Peer("PACS", ("127.0.0.1",)),), port=0)
    made = Configuration(
        folder,
        Receive(dicom=listener),
        Send(dicom=DicomArchive("ARCHIVE", "127.0.0.1", archive)),
        study=Study(quiet_seconds=0.3),
        retry=Retry(0.1, 0.4),
        keep=Keep(),
        limits=QUICK,
        http=Http(port=0),
    )
    return replace(made, **parts)


@contextmanager
def running(
    chosen: Configuration, grade: Callable[[Path, Path], GradedFiles] = stand_in, models: str = "m"
) -> Iterator[Service]:
    service = Service(chosen, grade, models)
    service.start()
    try:
        yield service
    finally:
        service.stop(5)


def send(
    port: int, *images: pydicom.Dataset, calling: str = "PACS", called: str = "MONAI_SPINE", tls: object = None
) -> list[int]:
    """The status of each image; empty if there was no association."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=called, tls_args=(tls, "localhost") if tls else None)
    if not association.is_established:
        return []
    answers = [association.send_c_store(one).get("Status", -1) for one in images]
    association.release()
    return answers


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def in_threads(*tasks: Callable[[], object]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
