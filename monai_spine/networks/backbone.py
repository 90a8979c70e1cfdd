"""Backbones from timm: made without weights, filled on request from its hub or from a file."""

from __future__ import annotations

import difflib
import pickle
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError

_WEIGHTS = "model.safetensors"
_OFFERED = 5
"""How many near names an error offers."""
_OURS = "backbone.body."
_CONVNEXT_LAYERS = {
    "block.0": "conv_dw",
    "block.2": "norm",
    "block.3": "mlp.fc1",
    "block.5": "mlp.fc2",
}
"""What torchvision calls the parts of a ConvNeXt block, and what timm calls them."""


class Backbone(nn.Module):
    """A timm network that turns pictures into features, never fetching anything when it is made.

    Parameters
    ----------
    name
        As timm knows it, such as ``convnext_nano`` or ``vit_small_patch14_reg4_dinov2``; a tag after a point, such as
        ``convnext_nano.in12k_ft_in1k``, says whose weights the hub is to give.
    in_channels
        Channels of a picture.
    pixels
        Rows and columns of a picture; vision transformers need to know.
    drop_path
        Share of residual branches that are left out in training, where the network has any.
    checkpointing
        Whether to compute features twice instead of keeping them: slower, with less memory.

    Raises
    ------
    InvalidOptionError
        If timm has no such network, or the pictures' size does not fit it.
    """

    def __init__(
        self,
        name: str,
        *,
        in_channels: int,
        pixels: tuple[int, int] | list[int],
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.in_channels = name, in_channels
        self.pixels = (int(pixels[0]), int(pixels[1]))
        self.body: Any = _made(name, in_channels, self.pixels, drop_path)
        _check_patches(self.body, name, self.pixels)
        self.features = _width(self.body, name, in_channels, self.pixels)
        self.channels_last = False
        if checkpointing:
            self.body.set_grad_checkpointing(True)

    def speed_up(self, *, channels_last: bool = False, compiled: bool = False) -> None:
        """Same answers, other ways to them, chosen for a machine; names and values of the weights do not change.

        Parameters
        ----------
        channels_last
            Whether pictures and weights are laid out channel by channel of each pixel, which many convolutions are
            faster on.
        compiled
            Whether `torch.compile` writes code for the network, for any number of pictures; copies are not compiled.
            The first steps take minutes, and a compiler must be there.
        """
        if channels_last:
            self.channels_last = True
            self.body.to(memory_format=torch.channels_last)
        if compiled:
            self.body.compile(dynamic=True)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features ``(n, features)`` of pictures ``(n, in_channels, rows, columns)`` from 0 to 1."""
        if self.channels_last:
            pictures = pictures.contiguous(memory_format=torch.channels_last)
        given: torch.Tensor = self.body(pictures)
        return given

    def start_from(self, source: str) -> None:
        """Take the weights of a file, or of timm's hub if ``source`` is ``hub``.

        A file may have timm's form, torchvision's (ResNet, ConvNeXt) or be that of a classifier of ours. First layers
        are fitted to the number of channels and position embeddings to the size of the pictures, as timm does it.

        Raises
        ------
        MissingInputError
            If the file is not there, or the hub cannot be reached: says how to fetch the file where it can.
        InvalidTableError
            If the weights are those of another network.
        """
        fetched = _from_hub(self.name) if source == "hub" else _checked(Path(source), self.name)
        with torch.random.fork_rng(), _in_timms_form(fetched) as path:
            one, other = (self._filled(path, seed, fetched) for seed in (0, 1))
        lacking = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
        if lacking:  # timm leaves at random what a file lacks, and says nothing
            raise InvalidTableError(
                f"{fetched} does not hold weights of {self.name}: it lacks {len(lacking)} of {len(one)}, such as "
                f"{lacking[0]}"
            )
        self.body.load_state_dict(one)

    def _filled(self, path: Path, seed: int, given: Path) -> dict[str, torch.Tensor]:
        """The weights of the file, in a network that began with random ones of a seed; ``given`` is the user's file."""
        torch.manual_seed(seed)
        changes: dict[str, Any] = {"img_size": self.pixels} if hasattr(self.body, "patch_embed") else {}
        overlay = {"file": str(path), "hf_hub_id": None, "url": ""}
        settings = {"in_chans": self.in_channels, "num_classes": 0, **changes}
        try:
            body = timm.create_model(self.name, pretrained=True, pretrained_cfg_overlay=overlay, **settings)
        except (RuntimeError, KeyError, ValueError, OSError, pickle.UnpicklingError, SafetensorError) as err:
            raise InvalidTableError(f"{given} does not hold weights of {self.name}: {_said(err)}") from err
        return dict(body.state_dict())


def _made(name: str, in_channels: int, pixels: tuple[int, int], drop_path: float) -> Any:
    if not timm.is_model(name.split(".", maxsplit=1)[0]):
        known = timm.list_models()
        near = difflib.get_close_matches(name.split(".", maxsplit=1)[0], known, _OFFERED, cutoff=0.4)
        raise InvalidOptionError(
            f"timm {timm.__version__} knows no network {name!r}; near it are {', '.join(near) or 'none'}"
        )
    changes: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        return _create(name, in_channels, {**changes, "img_size": pixels})
    except TypeError:  # a convolutional network has no size
        return _create(name, in_channels, changes)
    except (AssertionError, ValueError, RuntimeError) as err:
        raise _wrong_size(name, pixels, err) from err


@torch.no_grad()
def _width(body: Any, name: str, in_channels: int, pixels: tuple[int, int]) -> int:
    """Features of a picture, found by looking at an empty one."""
    body.eval()
    try:
        features = int(body(torch.zeros(1, in_channels, *pixels)).shape[1])
    except (AssertionError, ValueError, RuntimeError) as err:
        raise _wrong_size(name, pixels, err) from err
    body.train()
    return features


def _check_patches(body: Any, name: str, pixels: tuple[int, int]) -> None:
    """A vision transformer silently leaves out what does not fill a patch; patches that overlap leave nothing out."""
    cut = getattr(getattr(body, "patch_embed", None), "proj", None)
    if not isinstance(cut, nn.Conv2d) or cut.kernel_size != cut.stride:
        return
    patch = cut.stride
    if any(n % size for n, size in zip(pixels, patch, strict=True)):
        near = [max(size, round(n / size) * size) for n, size in zip(pixels, patch, strict=True)]
        raise InvalidOptionError(
            f"{name} sees patches of {patch[0]} x {patch[1]} pixels, which do not fill {pixels[0]} x {pixels[1]}; "
            f"take {near[0]} x {near[1]}"
        )


def _wrong_size(name: str, pixels: tuple[int, int], err: Exception) -> InvalidOptionError:
    config = timm.get_pretrained_cfg(name)
    usual = "" if config is None else " x ".join(map(str, config.input_size[1:]))
    parts = [
        f"{name} cannot take pictures of {pixels[0]} x {pixels[1]} pixels",
        *([f"it was made for {usual}"] if usual else []),
        *([f"timm says: {_said(err)}"] if str(err) else []),
    ]
    return InvalidOptionError("; ".join(parts))


def _create(name: str, in_channels: int, changes: dict[str, Any]) -> Any:
    return timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=0, **changes)


def _from_hub(name: str) -> Path:
    config = timm.get_pretrained_cfg(name)
    repository = (config.hf_hub_id if config else None) or f"timm/{name}"
    try:
        return Path(hf_hub_download(repository, _WEIGHTS))
    except (OSError, HfHubHTTPError) as err:
        raise MissingInputError(
            f"the weights of {name} cannot be fetched here ({type(err).__name__}); where there is a network, run "
            f"`hf download {repository} {_WEIGHTS} --local-dir .`, and give that file as pretrained"
        ) from err


@contextmanager
def _in_timms_form(path: Path) -> Iterator[Path]:
    """The file, or one with timm's names in its place for a while."""
    try:
        held = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, LookupError, EOFError, pickle.UnpicklingError, SafetensorError):
        held = None  # timm says what is wrong with it
    renamed = timm_names(held) if isinstance(held, dict) else None
    if renamed is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        save_file({name: value.contiguous() for name, value in renamed.items()}, Path(folder) / _WEIGHTS)
        yield Path(folder) / _WEIGHTS


def _checked(path: Path, name: str) -> Path:
    if not path.is_file():
        raise MissingInputError(f"expected weights of {name}, but there is no file {path}")
    return path


def _said(err: Exception) -> str:
    """The first two lines of an error, which name the tensors that are missing."""
    return " ".join(str(err).split())[:300]


def timm_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Weights under timm's names, if they are known to have others; None if they need no change.

    Known are torchvision's ConvNeXt, and a classifier of ours, whose backbone alone is taken. torchvision's ResNets are
    called as timm calls them.
    """
    if any(name.startswith(_OURS) for name in weights):
        return {name.removeprefix(_OURS): value for name, value in weights.items() if name.startswith(_OURS)}
    if "features.1.0.layer_scale" in weights:
        return dict(_convnext(name, value) for name, value in weights.items())
    return None


def _convnext(name: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    """A tensor of torchvision's ConvNeXt: features 0 are the stem, odd ones stages, even ones what halves the size."""
    if name.startswith("classifier."):
        return name.replace("classifier.0.", "head.norm.").replace("classifier.2.", "head.fc."), value
    found = re.fullmatch(r"features\.(\d+)\.(\d+)\.(.+)", name)
    if not found:
        return name, value
    part, n, rest = int(found[1]), int(found[2]), found[3]
    if part == 0:
        return f"stem.{n}.{rest}", value
    if part % 2 == 0:
        return f"stages.{part // 2}.downsample.{n}.{rest}", value
    block = f"stages.{part // 2}.blocks.{n}"
    if rest == "layer_scale":
        return f"{block}.gamma", value.flatten()
    layer, _, kind = rest.rpartition(".")
    return f"{block}.{_CONVNEXT_LAYERS.get(layer, layer)}.{kind}", value
