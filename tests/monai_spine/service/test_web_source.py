"""Studies of a DICOMweb server: a stand-in for its answers, and a real Orthanc."""

import shutil
import sys
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pytest

from monai_spine.service.archive import StowArchive
from monai_spine.service.configuration import Receive, Send, Study, WebArchive, WebSource
from monai_spine.service.queued_study import State
from monai_spine.service.study_queue import StudyQueue
from monai_spine.service.web_source import WebPoller
from tests.monai_spine.service.parts import configuration, image, running, until

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import service as benchmark

URL = "http://127.0.0.1:1/dicom-web"


class Server:
    """Answers of a DICOMweb server: two studies, the second with a series that is no MR."""

    def __init__(self) -> None:
        self.images = {"1.2.3": 2, "1.2.4": 1}
        self.fetched: list[str] = []

    def search_for_studies(self, limit: int, offset: int, search_filters: dict[str, str]) -> list[dict[str, Any]]:
        assert search_filters["ModalitiesInStudy"] == "MR"
        assert search_filters["StudyDate"].endswith("-")
        return [{"0020000D": {"Value": [uid]}} for uid in list(self.images)[offset : offset + limit]]

    def search_for_series(self, study: str, **_: object) -> list[dict[str, Any]]:
        count = {"Value": [self.images[study]]}
        return [{"0020000E": {"Value": [f"{study}.1"]}, "00201209": count}]

    def iter_series(self, study: str, series: str, **_: object) -> list[pydicom.Dataset]:
        self.fetched.append(study)
        if self.images[study] < 0:
            raise ConnectionError
        return [image(study, n) for n in range(self.images[study])]


def poller(tmp_path: Path, server: Server, kept: dict[str, int], room: bool = True) -> WebPoller:
    def keep(study: str, files: list[Path]) -> bool:
        kept[study] = len(files)
        assert all(file.is_file() for file in files)
        return room

    made = WebPoller(WebSource(URL), StudyQueue(tmp_path / "queue.sqlite"), keep, tmp_path, quiet_seconds=0.0)
    made._client = server  # type: ignore[assignment]
    return made


def test_a_study_is_fetched_once_and_again_when_it_grows(tmp_path: Path) -> None:
    server, kept, stop = Server(), {}, threading.Event()
    one = poller(tmp_path, server, kept)
    for _ in range(3):
        one.poll(stop)
    assert server.fetched == ["1.2.3", "1.2.4"]
    assert kept == {"1.2.3": 2, "1.2.4": 1}
    server.images["1.2.3"] = 3
    one.poll(stop)
    one.poll(stop)
    assert server.fetched == ["1.2.3", "1.2.4", "1.2.3"]
    assert not [*tmp_path.glob("tmp*")]


def test_a_study_that_breaks_off_or_has_no_room_is_fetched_again(tmp_path: Path) -> None:
    server, kept, stop = Server(), {}, threading.Event()
    server.images = {"1.2.3": 2}
    full = poller(tmp_path, server, kept, room=False)
    full.poll(stop)
    full.poll(stop)
    full.poll(stop)
    assert len(server.fetched) == 3
    server.images = {"1.2.3": -1}
    with pytest.raises(ConnectionError):
        poller(tmp_path, server, kept).poll(stop)
    assert not [*tmp_path.glob("tmp*")]


@pytest.mark.slow
def test_studies_of_orthanc_come_back_to_orthanc(tmp_path: Path) -> None:
    if shutil.which("Orthanc") is None or not Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so").exists():
        pytest.skip("needs Orthanc with DICOMweb: apt-get install orthanc orthanc-dicomweb")
    orthanc = benchmark.Orthanc(tmp_path / "orthanc").start()
    try:
        url = f"http://127.0.0.1:{orthanc.http}/dicom-web"
        files = []
        for n in range(3):
            files.append(tmp_path / f"{n}.dcm")
            image("1.2.3", n, StudyDate=f"{date.today():%Y%m%d}").save_as(files[-1], enforce_file_format=True)
        list(StowArchive(WebArchive(url)).send(files))
        receive = Receive(dicomweb=WebSource(url, every_seconds=0.5))
        chosen = configuration(tmp_path / "s", receive=receive, send=Send(dicomweb=WebArchive(url)))
        with running(replace(chosen, study=Study(quiet_seconds=0.5))) as own:
            until(lambda: own.queue.studies(State.SENT), 60)
            assert own.queue.study(1).images == 3
            until(lambda: len(orthanc.get("instances")) == 4, 60)
    finally:
        orthanc.stop()
