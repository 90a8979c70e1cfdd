import copy

import pytest
import torch

from monai_spine.crops.view import ABSENT
from monai_spine.errors import InvalidOptionError
from monai_spine.networks.level_grader import LevelGrader
from monai_spine.networks.view_reader import SEQUENCES, SlicePooling
from monai_spine.spine import FINDINGS, Level

VIEWS = [3, 4, 2]


def grader(**changes: object) -> LevelGrader:
    torch.manual_seed(0)
    settings = {"views": VIEWS, "pixels": [32, 32], "backbones": ["test_resnet"], "features": 16, **changes}
    return LevelGrader(**settings)


def study(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, len(Level), sum(VIEWS), 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("pooling", SlicePooling.METHODS)
def test_every_parameter_learns_whatever_the_design(sequence: str, pooling: str) -> None:
    network = grader(sequence=sequence, pooling=pooling)
    image = study(2)
    image[0, 1] = ABSENT
    logits = network(image)
    assert logits.shape == (2, len(FINDINGS), 3)
    logits.square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not still


HEADS = [{"validity": True}, {"attention_per": "grade"}, {"volumes": "view 2"}]


@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_and_becomes_torchscript(head: dict) -> None:
    network = grader(**head)
    image = study(2)
    image[0, 1] = ABSENT
    network(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    with torch.no_grad():
        expected, shown = network(image), network.attention(image)
        assert torch.allclose(torch.jit.script(network)(image), expected, atol=1e-5)
    assert shown.shape == (2, len(Level), 5, sum(VIEWS))
    assert (shown.unflatten(3, [-1])[..., :3].sum(dim=-1) <= 1 + 1e-5).all()
    assert (shown[0, 1] == 0).all()


def test_heads_that_are_off_add_no_weights() -> None:
    usual = {name: tensor.shape for name, tensor in grader().state_dict().items()}
    off = grader(validity=False, attention_per="condition", volumes="")
    assert {name: tensor.shape for name, tensor in off.state_dict().items()} == usual


def test_an_invalid_slice_has_no_weight_and_without_a_valid_one_nothing_is_read() -> None:
    network = grader(validity=True, neighbours=False).eval()
    with torch.no_grad():
        for reader in network.readers:
            reader.pool.valid.weight.zero_()
            reader.pool.valid.bias.fill_(-30.0)
        assert network.attention(study()).max() < 1e-9
        assert torch.allclose(network(study()), network(study().flip(-1)), atol=1e-5)


def test_each_grade_is_read_from_its_own_token() -> None:
    network = grader(attention_per="grade", condition_layers=0).eval()
    image = study()
    with torch.no_grad():
        before = network(image)
        network.place[:, 2] += 1.0  # the token of "severe" of the first condition
        after = network(image)
    changed = (before - after).abs().amax(dim=0) > 1e-6
    assert changed[:5, 2].all()
    assert not changed[:5, :2].any()
    assert not changed[5:].any()


def test_a_level_that_a_view_lacks_gets_nothing_from_its_volume() -> None:
    network = grader(volumes="view 2").eval()
    image = study()
    image[0, 3, 3:7] = ABSENT
    with torch.no_grad():
        before = network(image)
        network.volume_readers[0].project.bias += 5.0
        after = network(image)
    levels = [list(Level).index(finding.level) for finding in FINDINGS]
    lacking = torch.tensor([level == 3 for level in levels])
    assert torch.allclose(before[0, lacking], after[0, lacking])
    assert not torch.allclose(before[0, ~lacking], after[0, ~lacking], atol=1e-3)


def test_manifold_mixup_is_a_mean_of_tokens() -> None:
    network = grader(condition_layers=0).eval()
    image = study(2)
    with torch.no_grad():
        plain = network(image)
        assert torch.allclose(network(image, torch.zeros(2)), plain, atol=1e-5)
        assert torch.allclose(network(image, torch.ones(2)), plain.roll(1, 0), atol=1e-5)
        half = network(image, torch.full((2,), 0.5))
    assert torch.allclose(half[0], half[1], atol=1e-5)


@pytest.mark.parametrize("head", [{}, {"attention_per": "grade"}, {"validity": True}])
def test_attention_can_be_drawn_to_marked_slices(head: dict) -> None:
    network = grader(**head).eval()
    image = study(2)
    marks = torch.zeros(2, 5, 5, sum(VIEWS), dtype=torch.bool)
    marks[0, 2, 1, 4:6] = True
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    shares = []
    for _ in range(20):
        answer = network(image, marked=marks)
        share = network.attention(image)[0, 2, 1, 4:6].sum()
        assert torch.allclose(answer[0, 1 * 5 + 2, 3], share.log(), atol=1e-5)
        assert (answer[..., 3] < 0).sum() == 1
        assert torch.allclose(answer[..., :3], network(image), atol=1e-5)
        optimizer.zero_grad()
        (-answer[..., 3]).sum().backward()
        optimizer.step()
        shares.append(share.item())
    assert shares[0] < 0.7
    assert shares[-1] > 0.9


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_what_an_absent_slice_holds_changes_nothing(sequence: str) -> None:
    network = grader(sequence=sequence, neighbours=False).eval()
    image = study()
    image[0, 2, 5] = ABSENT
    shown = network.attention(image)
    assert (shown[0, 2, :, 5] == 0).all()
    assert torch.allclose(shown[0, 2, :, 3:7].sum(dim=-1), torch.ones(5), atol=1e-5)
    assert torch.isfinite(network(image)).all()


def test_a_level_without_any_view_answers_the_same_whatever_the_other_studies_show() -> None:
    network = grader().eval()
    one, other = study(), study().flip(-1)
    one[0, 3] = other[0, 3] = ABSENT
    of_level = [n for n, finding in enumerate(FINDINGS) if finding.level is list(Level)[3]]
    assert torch.allclose(network(one)[0, of_level], network(other)[0, of_level], atol=1e-5)


def test_a_backbone_that_goes_astray_on_nothing_does_not_spoil_the_other_views() -> None:
    network = grader(backbones=["test_resnet"] * 3, backbone_of_view=[0, 1, 2]).eval()
    image = study()
    image[:, :, : VIEWS[0]] = ABSENT
    sound = network(image)
    torch.nn.init.constant_(next(network.backbones[0].parameters()), torch.nan)
    assert torch.equal(network(image), sound)


def test_absent_slices_do_not_enter_the_batch_statistics() -> None:
    network = grader(neighbours=False)
    image = study(2)
    image[:, :, 2:] = ABSENT
    network.train()(image)
    some = next(m for m in network.backbones.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_mean.clone()
    network = grader(neighbours=False, views=[2])
    network.train()(image[:, :, :2])
    assert torch.allclose(
        some, next(m for m in network.backbones.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_mean
    )


@pytest.mark.parametrize("slices", [0, 1])
def test_a_backbone_with_hardly_anything_to_see_still_trains(slices: int) -> None:
    network = grader(backbones=["test_resnet"] * 3, backbone_of_view=[0, 1, 2]).train()
    image = study()
    image[:, :, : VIEWS[0]] = ABSENT
    image[0, 0, :slices] = 0.5
    network(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_level_is_graded_from_its_own_crops_alone() -> None:
    network = grader().eval()
    changed = study()
    changed[0, 2] = torch.rand(changed[0, 2].shape)
    moved = (network(study()) - network(changed)).abs().amax(dim=-1)[0] > 1e-5
    assert {FINDINGS[n].level for n in torch.nonzero(moved)[:, 0].tolist()} == {list(Level)[2]}


def test_a_view_that_is_dropped_in_training_is_never_the_last_one() -> None:
    network = grader(drop_view=0.95)
    there = torch.tensor([[True, True, True], [False, True, False], [False, False, False]]).repeat(200, 1)
    kept = network._kept(there)
    assert (kept <= there).all()
    assert (kept.any(dim=1) == there.any(dim=1)).all()
    assert kept[::3].sum() < 1.3 * 200
    assert torch.equal(network.eval()._kept(there), there)


def test_a_new_network_answers_the_prior_it_starts_from() -> None:
    network = grader().eval()
    prior = torch.rand(len(FINDINGS), 3) + 0.1
    prior /= prior.sum(dim=1, keepdim=True)
    network.start_from(prior)
    assert torch.allclose(network(study()).softmax(dim=-1)[0], prior, atol=0.05)


def test_views_may_have_backbones_of_their_own() -> None:
    network = grader(backbones=["test_resnet", "test_vit"], backbone_of_view=[0, 0, 1], pixels=[32, 32])
    assert network(study()).shape == (1, 25, 3)
    assert {body.name for body in network.backbones} == {"test_resnet", "test_vit"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbones": ["convnex_nano"]}, "convnext_nano"),
        ({"backbones": ["vit_small_patch14_reg4_dinov2"]}, "28 x 28"),
        ({"backbones": ["convnext_nano"], "pixels": [16, 16]}, "16 x 16"),
        ({"pooling": "median"}, "pooling"),
        ({"sequence": "gru"}, "sequence"),
        ({"attention_per": "finding"}, "attention_per"),
        ({"volumes": "axial"}, "volumes"),
        ({"backbone_of_view": [0, 1, 0]}, "backbones"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_could(changes: dict, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        grader(**changes)


def test_batch_statistics_in_use_are_those_of_training() -> None:
    """Views of different brightness share a backbone: each must not be normalised by itself in training."""
    network = grader(drop_view=0.0, dropout=0.0, sequence="mean")
    image = study(8)
    image[:, :, :3] *= 0.2
    image[:, :, 7:] = 0.5 + image[:, :, 7:] / 2
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        trained = network.train()(image)
        used = network.eval()(image)
    assert torch.allclose(trained, used, atol=0.02 * float(trained.std()))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
def test_channels_last_answers_and_learns_the_same(backbone: str) -> None:
    """And copies, as the moving average is one, work alike, with the same names of weights."""
    plain, other = grader(backbones=[backbone]), grader(backbones=[backbone])
    other.speed_up(channels_last=True)
    image = study(2)
    image[0, 1] = ABSENT
    for network in (plain, other):
        torch.manual_seed(0)
        network.train()(image).square().mean().backward()
    copied = copy.deepcopy(other)
    assert list(plain.state_dict()) == list(copied.state_dict())
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert (one.grad - two.grad).norm() <= 1e-2 * one.grad.norm() + 1e-6  # rounding, which batch statistics enlarge
    assert torch.allclose(plain.eval()(image), copied.eval()(image), atol=1e-3)
    seen: list[bool] = []
    first = next(module for module in copied.backbones.modules() if isinstance(module, torch.nn.Conv2d))
    first.register_forward_hook(
        lambda _, given, made: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    copied(image)
    assert seen == [True]


def test_a_word_in_place_of_true_speeds_nothing_up() -> None:
    with pytest.raises(InvalidOptionError, match="compiled"):
        grader().speed_up(compiled="true")  # type: ignore[arg-type]


@torch.no_grad()
def test_a_standardising_network_does_not_see_brightness_and_contrast_of_a_view() -> None:
    network, plain, image = grader(standardise=True).eval(), grader().eval(), study(2)
    image[0, 1, 2] = ABSENT
    changed = image.clone()
    for start, stop, gain, offset in ((0, 3, 0.5, 0.2), (3, 7, 0.8, 0.0)):
        changed[:, :, start:stop] = image[:, :, start:stop] * gain + offset
    changed[0, 1, 2] = ABSENT
    assert torch.allclose(network(changed), network(image), atol=1e-4)
    assert not torch.allclose(plain(changed), plain(image), atol=1e-2)
    assert torch.allclose(network(image[:1]), network(image)[:1], atol=1e-4)
