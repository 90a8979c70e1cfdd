"""Which arguments the objects of a configuration take."""

import pytest

from monai_spine.bundle.object_arguments import Arguments, arguments_of


@pytest.mark.parametrize("target", ["DataLoader", "Dataset", "SupervisedTrainer", "ValidationHandler", "Activationsd"])
def test_classes_by_monais_short_name_are_found(target: str) -> None:
    assert arguments_of(target).names


@pytest.mark.parametrize(
    ("target", "right", "wrong"),
    [
        ("DataLoader", "prefetch_factor", "num_worker"),  # PyTorch's, which MONAI's passes on
        ("SupervisedTrainer", "accumulation_steps", "accumulation"),
        ("ValidationHandler", "interval", "intervall"),
        ("monai_spine.levels.sagittal.slice_unet.VolumeUNet", "filters", "filterss"),  # passes all on
        ("monai_spine.training.losses.CompetitionLoss", "focal", "focall"),
        ("monai_spine.networks.parameter_groups.parameter_groups", "layer_decay", "layer_decays"),
        ("torch.optim.AdamW", "amsgrad", "ams"),
    ],
)
def test_further_arguments_are_those_of_the_base_that_they_are_passed_on_to(
    target: str, right: str, wrong: str
) -> None:
    taken = arguments_of(target)
    assert taken.takes(right)
    assert not taken.takes(wrong)


def test_a_loss_without_arguments_of_its_own_takes_none() -> None:
    assert arguments_of("monai_spine.levels.recesses.maps.RecessLoss") == Arguments()


@pytest.mark.parametrize("target", ["Activationsd", "monai_spine.images.training.augmentation.augmentation"])
def test_what_takes_any_argument_refuses_one_that_is_almost_another(target: str) -> None:
    taken = arguments_of(target)
    assert taken.others
    assert taken.takes("dim")
    assert not taken.takes(f"{taken.names[0]}s")


@pytest.mark.parametrize("target", ["torch.optim.no_such_class", "builtins.dict", "NoSuchClass", 3])
def test_where_the_arguments_are_not_known_any_is_taken(target: object) -> None:
    assert arguments_of(target) == Arguments(others=True)
