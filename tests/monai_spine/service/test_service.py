"""Studies in, objects out: what happens between, with a stand-in grader and real associations."""

import json
import logging
import stat
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import EnhancedSRStorage, SecondaryCaptureImageStorage

from monai_spine.service.configuration import Keep, Limits, Study
from monai_spine.service.grading import REFUSED, GradedFiles, refused
from monai_spine.service.queued_study import State
from monai_spine.service.service import Service
from tests.monai_spine.service.parts import (
    PATIENT,
    QUICK,
    Archive,
    configuration,
    image,
    in_threads,
    running,
    send,
    stand_in,
    until,
)


def comments(archive: Archive) -> list[str]:
    return sorted(one.ImageComments for one in archive.objects.values())


def test_a_study_comes_back_once_it_is_quiet(tmp_path: Path, archive: Archive) -> None:
    with running(configuration(tmp_path / "s", archive.port)) as service:
        assert send(service.port, image(number=1), image(number=2)) == [0, 0]
        assert send(service.port, image(number=3)) == [0]
        until(lambda: archive.objects)
        until(lambda: service.queue.study(1).state is State.SENT)
        assert comments(archive) == ["3 images"]


def test_four_associations_at_once_lose_and_mix_nothing(tmp_path: Path, archive: Archive) -> None:
    with running(configuration(tmp_path / "s", archive.port)) as service:
        images = [[image(f"1.2.{study}", number) for number in range(1, 6)] for study in range(3, 7)]
        in_threads(*(lambda own=own: send(service.port, *own) for own in images))
        until(lambda: len(archive.objects) == 4)
        assert comments(archive) == ["5 images"] * 4


def test_a_study_that_comes_again_is_not_sent_again(tmp_path: Path, archive: Archive) -> None:
    with running(configuration(tmp_path / "s", archive.port)) as service:
        for number in (1, 2):
            send(service.port, image(number=1), image(number=2))
            until(
                lambda number=number: (
                    service.queue.studies(State.SENT) and service.queue.study(number).state is State.SENT
                )
            )
        assert service.queue.study(2).outcome == "repeated"
        assert len(archive.times) == 1


def test_images_that_come_late_are_graded_together_with_the_earlier_ones(tmp_path: Path, archive: Archive) -> None:
    with running(configuration(tmp_path / "s", archive.port)) as service:
        send(service.port, image(number=1))
        until(lambda: archive.objects)
        send(service.port, image(number=2))
        until(lambda: len(archive.objects) == 2)
        assert comments(archive) == ["1 images", "2 images"]


def test_an_archive_that_is_down_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    archive = Archive()
    with running(configuration(tmp_path / "s", archive.port)) as service:
        send(service.port, image("1.2.3"), image("1.2.4"))
        until(lambda: service.delivery.failures >= 3)
        assert service.health()["archive"].startswith("not reached")
        archive.start()
        until(lambda: len(archive.objects) == 2)
        until(lambda: not service.delivery.failures)
    archive.stop()


def test_an_object_that_the_archive_refuses_stops_no_other_study(tmp_path: Path, archive: Archive) -> None:
    archive.status = 0xA700
    with running(configuration(tmp_path / "s", archive.port)) as service:
        send(service.port, image("1.2.3"))
        until(lambda: service.queue.study(1).attempts >= 2)
        archive.status = 0
        send(service.port, image("1.2.4"))
        until(lambda: len(archive.objects) == 2)


def test_a_study_that_fails_is_refused_with_a_note_and_stops_nothing(tmp_path: Path, archive: Archive) -> None:
    def grade(received: Path, out: Path) -> GradedFiles:
        if pydicom.dcmread(next(received.glob("*.dcm"))).StudyInstanceUID == "1.2.3":
            raise ValueError(PATIENT)
        return stand_in(received, out)

    with running(configuration(tmp_path / "s", archive.port), grade) as service:
        send(service.port, image("1.2.3"), image("1.2.4"))
        until(lambda: len(archive.objects) == 1)
        until(lambda: service.queue.study(1).state is State.GRADED)
        refused = service.queue.study(1)
        assert refused.outcome == REFUSED
        assert refused.reason.startswith("unexpected ValueError in test_service.py")
        notes = [pydicom.dcmread(file) for file in sorted(service.spool.objects(1).glob("*.dcm"))]
        assert [str(one.PatientName) for one in notes] == [PATIENT] * 2
        assert {one.StudyInstanceUID for one in notes} == {"1.2.3"}


def test_a_study_of_two_patients_that_cannot_be_graded_gets_a_note_for_each(tmp_path: Path) -> None:
    archive = Archive().take(EnhancedSRStorage, SecondaryCaptureImageStorage).start()

    def grade(received: Path, out: Path) -> GradedFiles:
        return refused("images of 2 patients in one study, by PatientID, name, birth date or sex", received, out)

    with running(configuration(tmp_path / "s", archive.port), grade) as service:
        other = {"PatientName": "Beispiel^Max", "PatientID": "KH-1"}
        assert send(service.port, image(number=1), image(number=2, **other), image(number=3)) == [0, 0, 0]
        until(lambda: service.queue.study(1).state is State.SENT)
    archive.stop()
    notes = list(archive.objects.values())
    names = sorted((one.Modality, str(one.PatientName), one.PatientID) for one in notes)
    both = [("Beispiel^Max", "KH-1"), (PATIENT, "KH-4711")]
    assert names == sorted((modality, *patient) for modality in ("OT", "SR") for patient in both)
    assert {one.StudyInstanceUID for one in notes} == {"1.2.3"}


def test_a_study_that_ended_the_process_too_often_is_refused(tmp_path: Path) -> None:
    service = Service(configuration(tmp_path / "s", study=Study(starts=2)), stand_in, "m")
    file = tmp_path / "one.dcm"
    image().save_as(file, enforce_file_format=True)
    assert service.store(file, "1.2.3", "1.2.3.1.1") == 0
    service.queue.closed(1, 1, "content", time.time() + 1)
    assert [service.queue.begun(1), service.queue.begun(1)] == [1, 2]  # each of them ended in a kill
    service.grade(service.queue.study(1))
    refused = service.queue.study(1)
    assert (refused.state, refused.outcome) == (State.GRADED, REFUSED)
    assert refused.reason == "grading it ended the program or exhausted the memory 2 times"
    service.pages.start()
    service.stop(1)


def test_a_full_disk_refuses_images_and_is_no_end(tmp_path: Path, archive: Archive) -> None:
    limits = replace(QUICK, free_gb=1e6)
    with running(configuration(tmp_path / "s", archive.port, limits=limits)) as service:
        assert send(service.port, image()) == [0xA700]
        assert service.health()["status"] == "free_gb"
        service.spool._limits = QUICK
        assert send(service.port, image()) == [0]
        until(lambda: archive.objects)


def test_a_disk_that_fills_while_a_study_is_graded_costs_no_study(tmp_path: Path, archive: Archive) -> None:
    failures = []

    def grade(received: Path, out: Path) -> GradedFiles:
        if len(failures) < 2:
            failures.append(1)
            raise OSError(28, "No space left on device")
        return stand_in(received, out)

    with running(configuration(tmp_path / "s", archive.port), grade) as service:
        send(service.port, image())
        until(lambda: archive.objects)
        assert service.queue.study(1).starts == 1


@pytest.mark.parametrize(
    ("limits", "answers"), [({"study_images": 2}, [0, 0, 0xA700]), ({"study_mb": 0.001}, [0, 0, 0xA700])]
)
def test_a_study_has_limits(tmp_path: Path, limits: dict, answers: list[int]) -> None:
    chosen = configuration(tmp_path / "s", limits=replace(QUICK, **limits))
    with running(replace(chosen, study=Study(quiet_seconds=100))) as service:
        assert send(service.port, *(image(number=n, ImageComments="x" * 400) for n in range(3))) == answers


def test_the_folder_is_private_and_swept(tmp_path: Path, archive: Archive) -> None:
    folder = tmp_path / "s"
    folder.mkdir(mode=0o755)
    with running(configuration(folder, archive.port, keep=Keep(sent_hours=0))) as service:
        send(service.port, image())
        files = [*service.spool.studies.rglob("*.dcm")]
        assert files
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert not any(stat.S_IMODE(one.stat().st_mode) & 0o077 for one in (*files, service.spool.studies))
        until(lambda: service.queue.study(1).state is State.SENT)
        service._tidy()
        assert service.spool.numbers() == []
        assert not [*folder.rglob("*.dcm")]


def test_a_study_that_cannot_be_sent_for_too_long_is_given_up(tmp_path: Path) -> None:
    with running(configuration(tmp_path / "s", keep=Keep(unsent_days=0.0001))) as service:
        send(service.port, image())
        until(lambda: service.queue.study(1).state is State.GRADED)
        service.queue._file.execute("UPDATE studies SET created = created - 60")
        service._tidy()
        assert service.queue.study(1).state is State.EXPIRED
        assert service.spool.numbers() == []


def test_pages_and_logs_name_no_patient(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def grade(received: Path, out: Path) -> GradedFiles:
        made = stand_in(received, out)
        return replace(made, outcome=REFUSED, reason="1.2.840.4711, stack 1: NaN")

    with running(configuration(tmp_path / "s", archive.port), grade) as service:
        send(service.port, image("1.2.840.4711", PatientBirthDate="nonsense"))
        until(lambda: service.queue.studies(State.SENT))
        pages = {}
        for page in ("health", "metrics", "studies"):
            with urllib.request.urlopen(f"http://127.0.0.1:{service.pages.port}/{page}") as answer:
                pages[page] = answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{service.pages.port}/../queue.sqlite")
    said = "\n".join([*pages.values(), *(record.getMessage() for record in caplog.records)])
    assert "study 1: complete, 1 image" in said
    for secret in ("Mustermann", "4711", "nonsense"):
        assert secret not in said
    assert json.loads(pages["health"])["status"] == "ok"
    assert 'monai_spine_studies{state="sent"} 1.0' in pages["metrics"]
    assert 'monai_spine_studies_done_total{outcome="refused"} 1.0' in pages["metrics"]
    assert pages["studies"].splitlines()[1].split()[:3] == ["1", "sent", "1"]


def test_a_start_goes_on_where_the_last_one_ended(tmp_path: Path, archive: Archive) -> None:
    chosen = configuration(tmp_path / "s", archive.port)
    with running(replace(chosen, study=Study(quiet_seconds=100))) as service:
        send(service.port, image("1.2.3"), image("1.2.4"))
        (service.spool.temporary / "half.dcm").write_bytes(b"half")
    assert not archive.objects
    with running(chosen) as service:
        assert not [*service.spool.temporary.iterdir()]
        until(lambda: len(archive.objects) == 2)


def test_limits_have_defaults_that_hold_no_peer_up() -> None:
    assert Limits().associations_per_address <= Limits().associations
