"""The queue: one state after the other, nothing lost at a kill, and waits that double."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from monai_spine.errors import OutputError
from monai_spine.service.configuration import Retry
from monai_spine.service.delivery import Delivery, backoff
from monai_spine.service.queued_study import ENDED, State
from monai_spine.service.study_queue import StudyQueue
from monai_spine.service.words import error_in_words, without_uids

FAR = 1e12


@pytest.fixture
def queue(tmp_path: Path) -> StudyQueue:
    return StudyQueue(tmp_path / "queue.sqlite")


def arrived(queue: StudyQueue, study: str = "1.2", now: float = 0.0) -> int:
    with queue.arrival(study, now) as number:
        return number


def test_a_study_is_quiet_only_when_nothing_was_stored_for_long_enough(queue: StudyQueue) -> None:
    number = arrived(queue, now=10)
    assert queue.quiet(5, now=14) == []
    with queue.arrival("1.2", now=14) as same:
        assert same == number
        assert queue.quiet(5, now=99) == []
        assert not queue.closed(number, 1, "content", FAR)
    assert [one.number for one in queue.quiet(5, now=19)] == [number]


def test_an_image_between_the_count_and_the_close_keeps_a_study_open(queue: StudyQueue) -> None:
    number = arrived(queue, now=10)
    arrived(queue, now=20)
    assert not queue.closed(number, 1, "content", counted=20)
    assert queue.closed(number, 2, "content", counted=21)


def test_a_restart_waits_once_more_and_keeps_everything(queue: StudyQueue, tmp_path: Path) -> None:
    first, second, third = (arrived(queue, f"1.{n}") for n in range(3))
    queue.closed(second, 1, "b", FAR)
    queue.closed(third, 1, "c", FAR)
    queue.begun(third)
    queue.graded(third, ["sr.dcm", "report.dcm"], "graded", "", 1.0)
    queue.confirmed(third, "sr.dcm")
    again = StudyQueue(tmp_path / "queue.sqlite")  # the first one was killed: it closed nothing
    assert again.quiet(5, now=100) == []
    assert [one.number for one in again.quiet(5, now=105)] == [first]
    waiting = again.next_to_grade(FAR)
    assert waiting is not None
    assert (waiting.number, waiting.starts) == (second, 0)
    assert again.unsent(third) == ["report.dcm"]
    again.confirmed(third, "report.dcm")
    assert again.study(third).state is State.SENT


def test_a_study_that_was_killed_while_it_was_graded_is_graded_again(queue: StudyQueue, tmp_path: Path) -> None:
    number = arrived(queue)
    queue.closed(number, 1, "content", FAR)
    assert queue.begun(number) == 1
    again = StudyQueue(tmp_path / "queue.sqlite")
    assert again.next_to_grade(FAR) is not None
    assert again.begun(number) == 2


def test_an_image_opens_a_waiting_study_again_but_not_one_that_is_being_graded(queue: StudyQueue) -> None:
    number = arrived(queue)
    queue.closed(number, 1, "content", 5)
    assert arrived(queue, now=6) == number
    assert queue.study(number).state is State.RECEIVING
    assert queue.begun(number) == 0
    queue.closed(number, 2, "more", FAR)
    queue.begun(number)
    later = arrived(queue)
    assert later != number
    assert [one.number for one in queue.earlier(queue.study(later))] == [number]


def test_the_same_content_is_done_once_and_other_content_again(queue: StudyQueue) -> None:
    first = arrived(queue)
    queue.closed(first, 1, "a", FAR)
    queue.begun(first)
    same = arrived(queue)
    queue.closed(same, 1, "a", FAR)
    assert (queue.study(same).state, queue.study(same).outcome) == (State.SENT, "repeated")
    other = arrived(queue)
    queue.closed(other, 2, "b", FAR)
    assert queue.study(other).state is State.COMPLETE


def test_a_study_that_ended_the_program_is_graded_when_it_is_sent_again(queue: StudyQueue) -> None:
    first = arrived(queue)
    queue.closed(first, 1, "a", FAR)
    queue.begun(first)
    queue.graded(first, [], "refused", f"{ENDED} 3 times", 1.0)
    again = arrived(queue)
    queue.closed(again, 1, "a", FAR)
    assert queue.study(again).state is State.COMPLETE


def test_rows_are_forgotten_after_a_while_and_open_ones_never(queue: StudyQueue) -> None:
    done, waiting = arrived(queue, "1.1"), arrived(queue, "1.2")
    queue.closed(done, 0, "nothing", FAR)
    assert queue.study(done).state is State.SENT
    queue.forget(FAR)
    assert [one.number for one in queue.studies()] == [waiting]


def test_a_study_of_a_server_is_fetched_once_it_stays_the_same(queue: StudyQueue) -> None:
    assert queue.unchanged_since("1.2", "a", 10) == 10
    assert queue.unchanged_since("1.2", "b", 20) == 20
    assert queue.unchanged_since("1.2", "b", 30) == 20
    queue.fetched("1.2")
    assert queue.unchanged_since("1.2", "b", 40) is None
    assert queue.unchanged_since("1.2", "c", 50) == 50


def test_a_file_that_is_no_queue_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").write_text("no queue" * 100)
    with pytest.raises(OutputError, match="expected the queue of the service"):
        StudyQueue(tmp_path / "queue.sqlite")


class Broken:
    """An archive that fails in a way that nobody foresaw."""

    def send(self, files: list[Path]) -> Iterator[Path]:
        raise ValueError("Mustermann")
        yield


def test_an_archive_that_fails_in_an_odd_way_ends_nothing(
    queue: StudyQueue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    number = arrived(queue)
    queue.closed(number, 1, "content", FAR)
    queue.graded(number, ["sr.dcm"], "graded", "", 1.0)
    counted: list[str] = []
    delivery = Delivery(queue, Broken(), Retry(), lambda _: tmp_path, lambda event, _: counted.append(event))
    assert not delivery.send(queue.study(number))
    assert queue.study(number).attempts == 1
    assert counted == ["send_failed"]
    assert "ValueError in test_study_queue.py" in caplog.text
    assert "Mustermann" not in caplog.text


def test_waits_double_up_to_the_longest() -> None:
    retry = Retry(10, 900)
    for failures, seconds in ((1, 10), (2, 20), (3, 40), (7, 640), (8, 900), (1000, 900)):
        waits = [backoff(retry, failures) / seconds for _ in range(50)]
        assert all(0.9 <= wait <= 1.1 for wait in waits)
        assert max(waits) - min(waits) > 0.05


def test_logs_hold_no_uid_and_no_message_of_an_error() -> None:
    assert without_uids("1.2.840.10008.7, stack 1 of 3.5 mm") == "<uid>, stack 1 of 3.5 mm"
    try:
        raise ValueError("Mustermann")
    except ValueError as error:
        assert error_in_words(error).startswith("ValueError in test_study_queue.py:")
