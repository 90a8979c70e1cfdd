import pytest
import torch
from ignite.engine import Engine, Events
from torch.optim import lr_scheduler

from monai_spine.errors import InvalidOptionError
from monai_spine.training.schedules import LearningRate, OneCycle, Schedule

RATE = 0.1


def optimizer() -> torch.optim.SGD:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    return torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:], "lr": RATE / 10}], lr=RATE)


def rates(schedule, steps: int) -> list[float]:
    given = []
    for _ in range(steps):
        given.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return given


@pytest.mark.parametrize("course", Schedule.COURSES)
def test_a_warm_up_grows_in_a_straight_line_and_groups_keep_their_ratio(course: str) -> None:
    schedule = Schedule(optimizer(), course=course, epochs=4, steps=10, warmup=0.5)
    assert rates(schedule, 5) == pytest.approx([RATE * n / 5 for n in range(1, 6)])
    assert schedule.optimizer.param_groups[1]["lr"] == pytest.approx(schedule.optimizer.param_groups[0]["lr"] / 10)


def test_courses_are_torchs() -> None:
    epochs, steps, total = 6, 5, 30
    torchs = {
        "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=total, eta_min=0.01 * RATE),
        "exponential": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.01 ** (1 / total)),
        "step": lambda o: lr_scheduler.StepLR(o, step_size=2 * steps, gamma=0.1),
        "constant": lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
    }
    for course, made in torchs.items():
        mine = rates(Schedule(optimizer(), course=course, epochs=epochs, steps=steps, every=2), total)
        assert mine == pytest.approx(rates(made(optimizer()), total), rel=1e-6), course


def test_after_a_warm_up_a_course_runs_as_one_without_over_the_steps_that_are_left() -> None:
    warm = rates(Schedule(optimizer(), course="cosine", epochs=6, steps=5, warmup=2.0), 30)
    plain = rates(Schedule(optimizer(), course="cosine", epochs=4, steps=5), 20)
    assert warm[10:] == pytest.approx(plain)


def test_one_cycle_rises_for_three_tenths_and_falls_to_nearly_nothing() -> None:
    given = rates(Schedule(optimizer(), course="one_cycle", epochs=10, steps=10), 100)
    assert given[0] == pytest.approx(RATE / 25)
    assert max(given) == given[30] == pytest.approx(RATE)
    assert given[-1] < RATE / 100


def test_a_plateau_lowers_the_rate_after_too_many_validations_without_gain() -> None:
    schedule = Schedule(optimizer(), course="plateau", epochs=10, steps=2, every=2, factor=0.5)
    seen = []
    for figure in (0.5, 0.6, 0.6, 0.6, float("nan"), 0.6, 0.7, 0.7, 0.7):
        rates(schedule, 2)
        schedule.validated(figure)
        seen.append(schedule.optimizer.param_groups[0]["lr"] / RATE)
    assert seen == pytest.approx([1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("course", Schedule.COURSES)
def test_a_schedule_that_is_taken_up_goes_on_as_one_that_never_stopped(course: str) -> None:
    one, other = (Schedule(optimizer(), course=course, epochs=4, steps=5, warmup=1.0, every=1) for _ in range(2))
    rates(one, 12)
    for figure in (0.5, 0.5, 0.5):
        one.validated(figure)
    other.load_state_dict(one.state_dict())
    assert rates(other, 8) == pytest.approx(rates(one, 8))


def test_a_warm_up_takes_at_most_half_of_the_training() -> None:
    long, half = (Schedule(optimizer(), course="cosine", epochs=4, steps=5, warmup=warmup) for warmup in (9.0, 2.0))
    assert rates(long, 20) == rates(half, 20)


def test_unknown_courses_and_impossible_numbers_are_refused() -> None:
    for wrong in ({"course": "sine"}, {"course": "cosine", "warmup": -1.0}, {"course": "step", "factor": 1.5}):
        with pytest.raises(InvalidOptionError):
            Schedule(optimizer(), epochs=4, steps=5, **wrong)


@pytest.mark.parametrize("rise", [0.1, 0.2])
def test_one_cycle_fits_any_number_of_steps(rise: float) -> None:
    for steps in range(1, 60):
        schedule = OneCycle(optimizer(), epochs=1, steps=steps, rise=rise)
        assert all(0 < rate <= RATE for rate in rates(schedule, steps - 1))


def test_one_cycle_is_torchs_with_the_groups_own_rates() -> None:
    torchs = lr_scheduler.OneCycleLR(optimizer(), [RATE, RATE / 10], total_steps=30, pct_start=0.2001)
    assert rates(OneCycle(optimizer(), epochs=6, steps=5, rise=0.2), 30) == rates(torchs, 30)


def test_more_epochs_after_one_cycle_are_a_cycle_of_their_own() -> None:
    first = OneCycle(optimizer(), epochs=2, steps=5, rise=0.2)
    rates(first, 10)
    longer = OneCycle(optimizer(), epochs=6, steps=5, rise=0.2)
    longer.load_state_dict(first.state_dict())
    alone = OneCycle(optimizer(), epochs=4, steps=5, rise=0.2)
    assert rates(longer, 20) == pytest.approx(rates(alone, 20))


@pytest.mark.parametrize("course", ["cosine", "exponential", "one_cycle"])
def test_more_epochs_after_a_course_with_an_end_are_a_course_of_their_own(course: str) -> None:
    first = Schedule(optimizer(), course=course, epochs=3, steps=5, warmup=1.0)
    rates(first, 15)
    longer = Schedule(optimizer(), course=course, epochs=7, steps=5, warmup=1.0)
    assert longer.extends(first.state_dict())
    longer.load_state_dict(first.state_dict())
    assert rates(longer, 20) == pytest.approx(rates(Schedule(optimizer(), course=course, epochs=4, steps=5), 20))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda o: lr_scheduler.StepLR(o, step_size=2, gamma=0.5), [0.5, 0.25]),  # two iterations an epoch
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0), [1.0, 0.5]),
        (lambda o: Schedule(o, course="plateau", epochs=2, steps=2, factor=0.5, every=1), [1.0, 1.0]),
    ],
    ids=["iterations", "torchs plateau", "own plateau"],
)
def test_a_schedule_moves_after_iterations_or_after_validations(made, expected: list[float]) -> None:
    trained = optimizer()
    schedule, seen = made(trained), []
    trainer, evaluator = Engine(lambda engine, batch: trained.step()), Engine(lambda engine, batch: None)
    LearningRate(schedule, evaluator, "score").attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.state.metrics = {"score": 0.5}
        evaluator.fire_event(Events.COMPLETED)
        seen.append(trained.param_groups[0]["lr"] / RATE)

    trainer.run([0, 1], max_epochs=2)
    assert seen == pytest.approx(expected)
