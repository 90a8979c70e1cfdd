"""A disk that is really full: a small one is mounted, filled, and emptied again."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monai_spine.service.queued_study import State
from monai_spine.service.study_queue import StudyQueue
from tests.monai_spine.service.parts import Archive, configuration, image, running, send, until

KB = 1000
STUDIES = [f"1.2.{n}" for n in range(3, 11)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3000k", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip("needs the right to mount a small disk (root)")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk but for some bytes."""
    room = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"0" * (room.f_bavail * room.f_frsize - leave))
    return filler


def try_to_send(port: int, study: str, number: int) -> bool:
    """Whether an image was confirmed."""
    try:
        return send(port, image(study, number, ImageComments="x" * 40 * KB)) == [0]
    except RuntimeError:  # the association was ended
        return False


@pytest.mark.slow
def test_on_a_full_disk_nothing_is_lost_and_all_goes_on_when_there_is_room(disk: Path, archive: Archive) -> None:
    with running(configuration(disk / "s", archive.port)) as service:
        filler = fill(disk, 300 * KB)
        images = [(study, number) for study in STUDIES for number in (1, 2)]
        confirmed = {one for one in images if try_to_send(service.port, *one)}
        assert 0 < len(confirmed) < len(images)
        assert not any(service.spool.temporary.glob("*.dcm")), "half an image takes the room of whole ones"
        # Until the last byte: what is there cannot be graded either.
        rest = fill_up(disk)
        until(lambda: not service._died and service.queue.studies())
        assert service.failed == ""
        filler.unlink()
        rest.unlink()
        for one in set(images) - confirmed:
            assert try_to_send(service.port, *one)
        until(lambda: {study for study in sent(archive) if sent(archive)[study] == 2} == set(STUDIES), 30)
        until(lambda: not service.queue.studies(State.RECEIVING, State.COMPLETE, State.GRADED))
        assert service.failed == ""
        assert {one.outcome for one in service.queue.studies()} == {"graded"}


def fill_up(disk: Path) -> Path:
    """Write until nothing more fits."""
    rest = disk / "rest"
    with rest.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"0" * KB)
        except OSError:
            pass
    return rest


def sent(archive: Archive) -> dict[str, int]:
    """The most images of each study, of which the archive has a result."""
    counts: dict[str, int] = {}
    for one in list(archive.objects.values()):
        count = int(one.ImageComments.split()[0])
        counts[one.StudyInstanceUID] = max(count, counts.get(one.StudyInstanceUID, 0))
    return counts


def test_a_queue_whose_disk_was_full_takes_the_next_change(disk: Path) -> None:
    queue = StudyQueue(disk / "queue.sqlite")
    with queue.arrival("1.2.3"):
        pass
    rest = fill_up(disk)
    failed = 0
    for n in range(400):  # the file of the queue has some room itself
        try:
            with queue.arrival(f"1.2.3.{n}" + ".1" * 20):
                pass
        except sqlite3.OperationalError as error:
            assert "full" in str(error) or "disk" in str(error)
            failed += 1
    assert failed
    before = len(queue.studies())
    rest.unlink()
    with queue.arrival("1.2.4"):
        pass
    assert len(queue.studies()) == before + 1
    queue.close()
