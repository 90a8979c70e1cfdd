import pytest
import torch

from monai_spine.crops import View
from monai_spine.crops.view import ABSENT
from monai_spine.spine import FINDINGS, MISSING, Side
from monai_spine.study_mixing import StudyMixing

VIEWS = (
    View(name="a", plane="sagittal", series=["sagittal_t2"], pixels=(8, 8), slices=4),
    View(name="b", plane="axial", series=["axial_t2"], pixels=(8, 8), slices=2),
)


def batch(count: int = 3) -> dict[str, torch.Tensor]:
    """Every pixel and every label of a study is the study's number."""
    number = torch.arange(count, dtype=torch.float32)
    return {
        "image": number.view(-1, 1, 1, 1, 1).expand(count, 5, 6, 8, 8).clone(),
        "label": number.long().view(-1, 1).expand(count, 25).clone(),
    }


def test_without_mixing_nothing_changes() -> None:
    image, label = StudyMixing(views=VIEWS)(batch())
    assert torch.equal(image, batch()["image"])
    assert torch.equal(label, batch()["label"])


def test_a_borrowed_level_brings_its_labels() -> None:
    torch.manual_seed(0)
    image, label = StudyMixing(views=VIEWS, level=0.5)(batch())
    levels = list(dict.fromkeys(finding.level for finding in FINDINGS))
    for n, finding in enumerate(FINDINGS):
        shown = image[:, levels.index(finding.level)]
        assert torch.equal(shown.amax(dim=(1, 2, 3)).long(), label[:, n])
        assert torch.equal(shown.amin(dim=(1, 2, 3)).long(), label[:, n])
    assert label.ne(batch()["label"]).any()


def test_a_borrowed_right_half_brings_right_labels_and_leaves_left_ones() -> None:
    image, label = StudyMixing(views=VIEWS, half=1.0)(batch())
    own, theirs = torch.arange(3), torch.arange(3).roll(1)
    for n, finding in enumerate(FINDINGS):
        expected = {Side.LEFT: own, Side.RIGHT: theirs, None: torch.full((3,), MISSING)}[finding.condition.side]
        assert torch.equal(label[:, n], expected)
    for study in range(3):
        assert (image[study, :, :2] == own[study]).all()  # sagittal slices run from left to right
        assert (image[study, :, 2:4] == theirs[study]).all()
        assert (image[study, :, 4:, :, 4:] == own[study]).all()  # columns of axial ones run to the left
        assert (image[study, :, 4:, :, :4] == theirs[study]).all()


def test_the_canals_label_stays_where_both_agree() -> None:
    data = batch(2)
    data["label"][:] = 1
    _, label = StudyMixing(views=VIEWS, half=1.0)(data)
    assert (label == 1).all()


def test_an_axial_slice_that_one_of_them_lacks_is_absent_and_not_half_there() -> None:
    data = batch(2)
    data["image"][1, :, 5] = ABSENT
    data["image"][1, :, 3] = ABSENT
    image, _ = StudyMixing(views=VIEWS, half=1.0)(data)
    assert (image[:, :, 5] == ABSENT).all()
    assert (image[0, :, 3] == ABSENT).all()
    assert (image[1, :, 3] == 0).all()


def test_holes_leave_absent_slices_absent() -> None:
    torch.manual_seed(0)
    data = {"image": torch.ones(2, 5, 6, 8, 8), "label": batch(2)["label"]}
    data["image"][0, 0, 0] = ABSENT
    image, _ = StudyMixing(views=VIEWS, hole=1.0)(data)
    assert (image[0, 0, 0] == ABSENT).all()
    assert ((image == 0).sum(dim=(-1, -2)) == 16).sum() == 2 * 5 * 6 - 1


@pytest.mark.parametrize("name", ["level", "half", "hole"])
def test_shares_beyond_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        StudyMixing(views=VIEWS, **{name: 1.5})
