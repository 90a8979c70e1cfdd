"""The state of a run on disk: what is written, what is read, and what is refused."""

import logging
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.training.run_state import RunState, resumes
from monai_spine.training.schedules import OneCycle, Schedule


def test_a_new_run_moves_an_earlier_one_aside(tmp_path: Path) -> None:
    latest, model = tmp_path / "latest.pt", tmp_path / "model.pt"
    latest.write_text("state")
    model.write_text("weights")
    RunState(parts={}, folder=tmp_path, keep=[str(model)]).attach(Engine(lambda engine, batch: None))
    (aside,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert {file.name: file.read_text() for file in aside.iterdir()} == {"latest.pt": "state", "model.pt": "weights"}


def stopped_at(path: Path, epoch: int, of: int = 3) -> Engine:
    torch.save({"parts": {}, "progress": {"epoch": epoch, "max_epochs": of}}, path)
    trainer = Engine(lambda engine, batch: None)
    trainer.state.max_epochs = 3
    return trainer


def test_a_finished_run_is_not_begun_again(tmp_path: Path) -> None:
    trainer = stopped_at(tmp_path / "latest.pt", epoch=3)
    with pytest.raises(InvalidTableError, match="nothing is left to resume"):
        RunState(parts={}, folder=tmp_path).attach(trainer, resume=True)


def test_a_state_of_other_parts_is_refused(tmp_path: Path) -> None:
    trainer = stopped_at(tmp_path / "latest.pt", epoch=1)
    state = RunState(parts={"network": torch.nn.Linear(1, 1)}, folder=tmp_path)
    with pytest.raises(InvalidTableError, match=r"with the parts \['network'\]"):
        state.attach(trainer, resume=True)


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"latest\.pt"):
        RunState(parts={}, folder=tmp_path).attach(Engine(lambda engine, batch: None), resume=True)


@pytest.mark.parametrize(("resume", "without", "within"), [(True, True, True), (False, False, False)])
def test_true_and_false_are_taken_at_their_word(tmp_path: Path, resume: bool, without: bool, within: bool) -> None:
    assert resumes(resume, tmp_path) is without
    (tmp_path / "latest.pt").touch()
    assert resumes(resume, tmp_path) is within


@pytest.mark.parametrize("name", ["latest.pt", "previous.pt"])
def test_auto_goes_on_if_there_is_a_state(tmp_path: Path, name: str) -> None:
    assert not resumes("auto", tmp_path)
    (tmp_path / name).touch()
    assert resumes("auto", tmp_path)


@pytest.mark.parametrize("word", ["false", "true", "Auto", "yes", None, 1])
def test_another_word_is_refused(word: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"True, False or auto.*--resume auto"):
        resumes(word, tmp_path)  # type: ignore[arg-type]


def test_auto_ends_with_a_line_if_the_run_has_finished(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = stopped_at(tmp_path / "latest.pt", epoch=3)
    with caplog.at_level(logging.INFO):
        assert not RunState(parts={}, folder=tmp_path).attach(trainer, resume="auto")
    assert "finished after 3 of 3 epochs" in caplog.text


def trained(folder: Path, epochs: int, *, resume: bool | str = False, **options: object) -> list[int]:
    """Epochs that a run has trained; ``stop_in`` raises in that epoch, and ``end_in`` ends the run after it."""
    settings = options.pop("settings", {})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=0.1)
    schedule = options.pop("schedule", lambda *_: None)(optimizer, epochs)
    state = RunState(parts={"lr_scheduler": schedule} if schedule else {}, folder=folder, settings=settings)
    epochs_done: list[int] = []
    trainer = Engine(lambda engine, batch: schedule and schedule.step())
    trainer.state.max_epochs, trainer.state.epoch_length = epochs, 1

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        if trainer.state.epoch == options.get("stop_in"):
            raise KeyError("stopped by a test")
        epochs_done.append(trainer.state.epoch)
        if trainer.state.epoch == options.get("end_in"):
            trainer.terminate()

    if state.attach(trainer, resume=resume):
        trainer.run([0], max_epochs=epochs, epoch_length=1)
    return epochs_done


def killed(folder: Path, stop_in: int) -> None:
    with pytest.raises(KeyError):
        trained(folder, 4, stop_in=stop_in)


def test_the_epoch_before_is_kept_until_the_run_is_done(tmp_path: Path) -> None:
    killed(tmp_path, stop_in=4)
    epochs = [torch.load(tmp_path / name)["progress"]["epoch"] for name in ("previous.pt", "latest.pt")]
    assert epochs == [2, 3]
    assert trained(tmp_path, 4, resume="auto") == [4]
    assert [file.name for file in tmp_path.iterdir()] == ["latest.pt"]


@pytest.mark.parametrize("content", [b"", b"rubbish", None], ids=["empty", "rubbish", "missing"])
def test_a_run_goes_on_from_the_epoch_before_if_its_state_is_damaged(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path, stop_in=4)
    if content is None:
        (tmp_path / "latest.pt").unlink()
    else:
        (tmp_path / "latest.pt").write_bytes(content)
    with caplog.at_level(logging.INFO):
        assert trained(tmp_path, 4, resume="auto") == [3, 4]
    (line,) = [record for record in caplog.records if "goes on from the epoch before" in record.message]
    assert line.levelname == ("INFO" if content is None else "WARNING")


def test_a_damaged_state_without_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latest.pt").write_bytes(b"rubbish")
    with pytest.raises(InvalidTableError, match=r"latest\.pt"):
        trained(tmp_path, 4, resume="auto")


def test_half_written_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".latest.pt.123.partial").touch()
    trained(tmp_path, 1, resume="auto")
    assert [file.name for file in tmp_path.iterdir()] == ["latest.pt"]


def test_a_run_that_ended_early_has_finished(tmp_path: Path) -> None:
    assert trained(tmp_path, 4, end_in=2) == [1, 2]
    assert trained(tmp_path, 4, resume="auto") == []
    with pytest.raises(InvalidTableError, match="finished after 2 of 4 epochs"):
        trained(tmp_path, 4, resume=True)


def test_other_settings_are_refused_with_the_differences(tmp_path: Path) -> None:
    trained(tmp_path, 2, settings={"fold": "0", "rate": "0.1", "same": "1"})
    with pytest.raises(InvalidTableError) as caught:
        trained(tmp_path, 2, resume="auto", settings={"fold": "1", "same": "1", "new": "2"})
    assert "fold is 1, but was 0; new is 2, but was not set; rate is not set, but was 0.1." in str(caught.value)


class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
    """One whose figure never becomes better."""

    def step(self) -> None:
        super().step(1.0)


def schedule(course: str):
    if course == "ReduceLROnPlateau":
        return lambda optimizer, _: Plateau(optimizer, patience=1)
    return lambda optimizer, epochs: Schedule(optimizer, course=course, epochs=epochs, steps=1, warmup=1, every=2)


@pytest.mark.parametrize("course", ["constant", "step", "plateau", "ReduceLROnPlateau"])
def test_more_epochs_may_follow_if_the_rates_do_not_depend_on_their_number(tmp_path: Path, course: str) -> None:
    trained(tmp_path / "extended", 2, schedule=schedule(course))
    assert trained(tmp_path / "extended", 5, resume=True, schedule=schedule(course)) == [3, 4, 5]
    trained(tmp_path / "straight", 5, schedule=schedule(course))
    one, other = (torch.load(tmp_path / name / "latest.pt") for name in ("extended", "straight"))
    assert one == other


WITH_END = ["cosine", "exponential", "one_cycle", "OneCycle"]


def with_end(course: str):
    if course == "OneCycle":
        return lambda optimizer, epochs: OneCycle(optimizer, epochs=epochs, steps=1, rise=0.2)
    return schedule(course)


@pytest.mark.parametrize("course", WITH_END)
def test_a_course_that_has_ended_begins_anew_for_more_epochs_and_survives_a_kill(tmp_path: Path, course: str) -> None:
    chosen = with_end(course)
    for folder in ("killed", "straight"):
        trained(tmp_path / folder, 4, schedule=chosen)
    assert trained(tmp_path / "straight", 8, resume="auto", schedule=chosen) == [5, 6, 7, 8]
    with pytest.raises(KeyError):
        trained(tmp_path / "killed", 8, resume="auto", schedule=chosen, stop_in=7)
    assert trained(tmp_path / "killed", 8, resume="auto", schedule=chosen) == [7, 8]
    one, other = (torch.load(tmp_path / name / "latest.pt") for name in ("killed", "straight"))
    assert one == other
    assert trained(tmp_path / "straight", 9, resume="auto", schedule=chosen) == [9]


@pytest.mark.parametrize("course", WITH_END)
def test_more_epochs_are_refused_before_a_course_has_ended(tmp_path: Path, course: str) -> None:
    with pytest.raises(KeyError):
        trained(tmp_path, 4, schedule=with_end(course), stop_in=3)
    with pytest.raises(InvalidTableError, match=r"planned for 4 epochs, but 8 .*--resume False"):
        trained(tmp_path, 8, resume=True, schedule=with_end(course))
    assert trained(tmp_path, 4, resume=True, schedule=with_end(course)) == [3, 4]
    assert trained(tmp_path, 8, resume=True, schedule=with_end(course)) == [5, 6, 7, 8]


@pytest.mark.parametrize("course", WITH_END)
def test_fewer_epochs_than_done_are_nothing_to_resume(tmp_path: Path, course: str) -> None:
    trained(tmp_path, 4, schedule=with_end(course))
    with pytest.raises(InvalidTableError, match="planned for 4 epochs, but 3"):
        trained(tmp_path, 3, resume=True, schedule=with_end(course))
