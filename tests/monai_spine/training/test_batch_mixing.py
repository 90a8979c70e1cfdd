from dataclasses import replace

import pytest
import torch

from monai_spine.crops.view import ABSENT, View
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import FINDINGS, FLIPPED, MISSING, Side
from monai_spine.training.batch_mixing import StudyMixing
from monai_spine.training.losses import CompetitionLoss, soft_labels

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


def test_shuffled_axial_slices_are_the_same_slices_and_sagittal_ones_stay() -> None:
    torch.manual_seed(0)
    views = (VIEWS[0], replace(VIEWS[1], slices=6))
    image = torch.rand(4, 5, 10, 8, 8)
    image[0, 0, 7] = ABSENT
    shuffled, label = StudyMixing(views=views, shuffle_slices=1.0)({"image": image, "label": batch(4)["label"]})
    assert torch.equal(shuffled[:, :, :4], image[:, :, :4])
    assert torch.equal(label, batch(4)["label"])
    axial, before = shuffled[:, :, 4:], image[:, :, 4:]
    assert not torch.equal(axial, before)
    assert torch.equal(axial.flatten(3).sort(dim=2).values, before.flatten(3).sort(dim=2).values)
    key = before[..., 0, 0].argsort(dim=2)
    moved = axial[..., 0, 0].argsort(dim=2)
    assert torch.equal(
        axial.gather(2, moved[..., None, None].expand_as(axial)),
        before.gather(2, key[..., None, None].expand_as(before)),
    )


def test_shuffled_slices_are_mixed_as_often_as_ordered_ones() -> None:
    torch.manual_seed(0)
    views = (VIEWS[0], replace(VIEWS[1], slices=6))
    image = torch.tensor([0.2, 0.8])[:, None, None, None, None].expand(2, 5, 10, 16, 16).clone()
    image[:, :, 4] = ABSENT  # of both studies, as above the highest plane
    mixing = StudyMixing(views=views, cutmix=1.0, shuffle_slices=1.0)
    mixed, _ = mixing({"image": image, "label": batch(2)["label"]})
    both = [[set(level[level >= 0].tolist()) for level in study] for study in mixed]
    assert sum(len(values) == 2 for study in both for values in study) >= 9  # a rectangle may be smaller than a pixel


def marked(count: int = 3) -> dict[str, torch.Tensor]:
    """Findings of the canal have their marks on the two middle sagittal slices, of right recesses on an axial one."""
    marks = torch.zeros(count, 5, 5, 6, dtype=torch.bool)
    marks[:, :, 0, 1:3] = True
    marks[:, :, 4, 5] = True
    image = torch.rand(count, 5, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    return {**batch(count), "image": image, "marked": marks}


def test_the_network_is_told_the_marked_slices_if_they_count() -> None:
    data = marked()
    image, _, positional, named = StudyMixing(views=VIEWS, marked_weight=0.3)(data)
    assert torch.equal(image, data["image"])
    assert positional == ()
    assert torch.equal(named["marked"], data["marked"])
    assert len(StudyMixing(views=VIEWS)(data)) == 2
    named = StudyMixing(views=VIEWS, marked_weight=0.3, manifold_mixup=1.0)(data)[3]
    assert set(named) == {"marked", "share"}


@pytest.mark.parametrize("mixing", [{"levels": 1.0}, {"mixup": 1.0}])
def test_a_mixed_finding_has_no_marked_slices(mixing: dict[str, float]) -> None:
    torch.manual_seed(0)
    named = StudyMixing(views=VIEWS, marked_weight=0.3, **mixing)(marked())[3]
    assert not named["marked"].any()


def test_a_finding_keeps_its_marked_slices_if_only_others_are_mixed() -> None:
    torch.manual_seed(0)
    views = (VIEWS[0], replace(VIEWS[1], slices=2))
    image, _, _, named = StudyMixing(views=views, marked_weight=0.3, shuffle_slices=1.0, holes=1.0)(marked(8))
    assert not torch.equal(image, marked(8)["image"])
    assert named["marked"][:, :, 0].sum() == 8 * 5 * 2
    stayed = named["marked"][:, :, 4].any(dim=2)
    assert stayed.any()
    assert not stayed.all()


def test_outermost_slices_without_a_mark_show_the_slice_beside_them() -> None:
    torch.manual_seed(0)
    data = marked()
    data["marked"][0, :, 1, 3] = True  # the right end of one study
    data["image"][1, :, 0] = ABSENT
    image, _, _, named = StudyMixing(views=VIEWS, marked_weight=0.3, repeat_outer=1.0)(data)
    assert torch.equal(image[:, :, 1:3], data["image"][:, :, 1:3])
    assert torch.equal(image[:, :, 4:], data["image"][:, :, 4:])  # axial slices
    assert torch.equal(image[[0, 2], :, 0], data["image"][[0, 2], :, 1])
    assert (image[1, :, 0] == ABSENT).all()
    assert torch.equal(image[0, :, 3], data["image"][0, :, 3])
    assert torch.equal(image[1:, :, 3], data["image"][1:, :, 2])
    assert torch.equal(named["marked"], data["marked"])


def test_manifold_mixup_mixes_labels_by_the_share_that_the_network_gets() -> None:
    torch.manual_seed(0)
    data = batch(3)
    image, label, positional, named = StudyMixing(views=VIEWS, manifold_mixup=1.0)(data)
    share = named["share"]
    assert torch.equal(image, data["image"])
    assert positional == ()
    assert share.shape == (3,)
    one_hot = soft_labels(data["label"])
    expected = torch.lerp(one_hot, one_hot.roll(1, 0), share[:, None, None])
    assert torch.allclose(label, expected)
    _, untouched, _, none = StudyMixing(views=VIEWS, manifold_mixup=1e-9)(data)
    assert not none["share"].any()
    assert torch.equal(untouched, one_hot)


def softly_labelled() -> dict[str, torch.Tensor]:
    """A finding with both labels, one with each of them, and 22 without any."""
    data = batch(2)
    data["label"] = torch.full((2, 25), MISSING)
    data["label"][:, :2] = 2
    data["soft_label"] = torch.zeros(2, 25, 3)
    data["soft_label"][:, 0] = data["soft_label"][:, 2] = torch.tensor([0.5, 0.3, 0.2])
    return data


def test_a_soft_label_has_its_share_of_the_loss_and_the_label_the_rest() -> None:
    _, label = StudyMixing(views=VIEWS, pseudo_weight=0.4)(softly_labelled())
    assert label[0, 0].tolist() == pytest.approx([0.2, 0.12, 0.68])
    assert label[0, 1].tolist() == pytest.approx([0, 0, 0.6])
    assert label[0, 2].tolist() == pytest.approx([0.2, 0.12, 0.08])
    assert not label[0, 3:].any()
    loss, logits = CompetitionLoss(any_severe=0.0), torch.zeros(2, 25, 3)
    logits[:, 0] = torch.tensor([1.0, 0.5, -1.0])
    soft, hard = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 0, 1])
    weights = torch.tensor([1.0, 2, 4])
    alone = torch.where(torch.arange(25)[:, None] == 0, label, torch.zeros(()))
    target = (0.4 * soft + 0.6 * hard) * weights
    expected = -(target * logits[0, 0].log_softmax(0)).sum() / target.sum()
    assert loss(logits, alone).item() == pytest.approx(expected.item(), abs=1e-6)


def test_without_a_share_soft_labels_change_nothing() -> None:
    _, label = StudyMixing(views=VIEWS)(softly_labelled())
    assert torch.equal(label, softly_labelled()["label"])


def test_mixed_levels_and_halves_bring_their_soft_labels() -> None:
    data = batch(3)
    data["soft_label"] = torch.nn.functional.one_hot(data["label"], 3).float()
    for options in ({"levels": 0.5}, {"halves": 1.0}):
        torch.manual_seed(0)
        _, hard = StudyMixing(views=VIEWS, **options)(data)
        torch.manual_seed(0)
        _, soft = StudyMixing(views=VIEWS, **options, pseudo_weight=0.5)(data)
        assert torch.equal(soft, soft_labels(hard))


def test_the_canals_soft_label_weighs_as_much_as_both_studies_agree_on_it() -> None:
    torch.manual_seed(1)
    data = batch(2)
    data["soft_label"] = torch.rand(2, 25, 3).softmax(dim=-1)
    _, label = StudyMixing(views=VIEWS, halves=1.0, pseudo_weight=1.0)(data)
    own, theirs = data["soft_label"], data["soft_label"].roll(1, dims=0)
    for n, finding in enumerate(FINDINGS):
        if finding.condition.side is None:
            agreed = 1 - (own[:, n] - theirs[:, n]).abs().sum(dim=-1) / 2  # one minus the total variation
            torch.testing.assert_close(label[:, n].sum(dim=-1), agreed)
            assert (label[:, n] <= own[:, n]).all()
            assert (label[:, n] <= theirs[:, n]).all()
        else:
            assert torch.equal(label[:, n], (theirs if finding.condition.side is Side.RIGHT else own)[:, n])


def test_a_borrowed_level_brings_its_labels() -> None:
    torch.manual_seed(0)
    image, label = StudyMixing(views=VIEWS, levels=0.5)(batch())
    levels = list(dict.fromkeys(finding.level for finding in FINDINGS))
    for n, finding in enumerate(FINDINGS):
        shown = image[:, levels.index(finding.level)]
        assert torch.equal(shown.amax(dim=(1, 2, 3)).long(), label[:, n])
        assert torch.equal(shown.amin(dim=(1, 2, 3)).long(), label[:, n])
    assert label.ne(batch()["label"]).any()


def test_a_borrowed_right_half_brings_right_labels_and_leaves_left_ones() -> None:
    image, label = StudyMixing(views=VIEWS, halves=1.0)(batch())
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
    _, label = StudyMixing(views=VIEWS, halves=1.0)(data)
    assert (label == 1).all()


def test_an_axial_slice_that_one_of_them_lacks_is_absent_and_not_half_there() -> None:
    data = batch(2)
    data["image"][1, :, 5] = ABSENT
    data["image"][1, :, 3] = ABSENT
    image, _ = StudyMixing(views=VIEWS, halves=1.0)(data)
    assert (image[:, :, 5] == ABSENT).all()
    assert (image[0, :, 3] == ABSENT).all()
    assert (image[1, :, 3] == 0).all()


def test_holes_leave_absent_slices_absent() -> None:
    torch.manual_seed(0)
    data = {"image": torch.ones(2, 5, 6, 8, 8), "label": batch(2)["label"]}
    data["image"][0, 0, 0] = ABSENT
    image, _ = StudyMixing(views=VIEWS, holes=1.0)(data)
    assert (image[0, 0, 0] == ABSENT).all()
    assert ((image == 0).sum(dim=(-1, -2)) == 16).sum() == 2 * 5 * 6 - 1


def noise(studies: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    """Studies of noise and random labels; some levels and slices are not there."""
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(studies, 5, 6, 8, 8, generator=random)
    image[0, 0, 1] = image[:2, 2] = ABSENT
    return {"image": image, "label": torch.randint(-1, 3, (studies, 25), generator=random)}


BLENDING = [{"mixup": 0.9}, {"cutmix": 0.9}, {"mixup": 0.7, "cutmix": 0.7, "levels": 0.3, "halves": 0.3}]


@pytest.mark.parametrize("shares", BLENDING)
@pytest.mark.parametrize("seed", range(3))
def test_blended_labels_sum_to_one_or_are_missing_and_absent_slices_stay_absent(shares: dict, seed: int) -> None:
    torch.manual_seed(seed)
    image, label = StudyMixing(views=VIEWS, **shares)(noise(seed=seed))
    sums = label.sum(dim=-1)
    assert label.shape == (4, 25, 3)
    assert (label >= 0).all()
    assert torch.allclose(sums, sums.round(), atol=1e-5)
    absent = (image == ABSENT).flatten(3)
    assert (absent.all(dim=-1) == absent.any(dim=-1)).all()
    assert image[~absent.any(dim=-1)].min() >= 0


@pytest.mark.parametrize("shares", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_labels_are_blended_as_the_pixels_are(shares: dict) -> None:
    """Grey values are the share of severe: where one study is black and normal, the other white and severe."""
    torch.manual_seed(1)
    data = {"image": torch.zeros(2, 5, 6, 64, 64), "label": torch.zeros(2, 25, dtype=torch.int64)}
    data["image"][1], data["label"][1] = 1.0, 2
    image, label = StudyMixing(views=VIEWS, **shares)(data)
    levels = list(dict.fromkeys(finding.level for finding in FINDINGS))
    for n, finding in enumerate(FINDINGS):
        white = image[:, levels.index(finding.level)].mean(dim=(1, 2, 3))
        assert torch.allclose(label[:, n, 2], white, atol=1e-5)
    assert 0.05 < float(label[0, 0, 2]) < 0.95


@pytest.mark.parametrize("shares", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_levels_of_other_slices_are_not_blended(shares: dict) -> None:
    data = noise(2)
    image, label = StudyMixing(views=VIEWS, **shares)(data)
    assert torch.equal(image[:, 0], data["image"][:, 0])
    first = [n for n, finding in enumerate(FINDINGS) if finding.level == FINDINGS[0].level]
    assert set(label[:, first].flatten().tolist()) <= {0.0, 1.0}
    assert not torch.equal(image[:, 1], data["image"][:, 1])


def test_a_blend_in_the_mirror_is_the_mirror_of_the_blend() -> None:
    def mirrored(image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([image[:, :, :4].flip(2), image[:, :, 4:].flip(-1)], dim=2), label[:, list(FLIPPED)]

    data, mixing = noise(), StudyMixing(views=VIEWS, mixup=0.8)
    torch.manual_seed(3)
    expected = mirrored(*mixing(data))
    torch.manual_seed(3)
    found = mixing(dict(zip(("image", "label"), mirrored(data["image"], data["label"]), strict=True)))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_batch_of_one_blends_nothing() -> None:
    data = noise(1)
    image, label = StudyMixing(views=VIEWS, mixup=1.0, cutmix=1.0)(data)
    assert torch.allclose(image, data["image"])
    assert torch.equal(label.argmax(dim=-1)[data["label"] >= 0], data["label"][data["label"] >= 0])


@pytest.mark.parametrize("name", ["levels", "halves", "mixup", "cutmix", "holes"])
def test_shares_beyond_one_are_refused(name: str) -> None:
    with pytest.raises(InvalidOptionError, match=name):
        StudyMixing(views=VIEWS, **{name: 1.5})


def test_outer_slices_are_not_repeated_without_marked_ones() -> None:
    with pytest.raises(InvalidOptionError, match="marked_weight"):
        StudyMixing(views=VIEWS, repeat_outer=0.5)
