"""A U-Net that classifies: a down path, optionally an up path with skips, then pooling and a linear head."""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution, ResidualUnit
from torch import nn

from monai_spine.spine import FINDINGS, Grade, SeriesType

_NORM = "BATCH"
"""MONAI's name of the normalisation. GroupNorm and InstanceNorm learnt less: they take away each study's own mean,
which global average pooling reads."""


class UNetClassifier(nn.Module):
    """Grades all 25 findings of a study from one tensor.

    MONAI's residual U-Net units; the features that are pooled come from the bottleneck (``up_path=False``), or from
    the full-resolution end of an up path whose steps concatenate the skip of their resolution (Ronneberger et al.
    2015, doi:10.1007/978-3-319-24574-4_28). Global average pooling, dropout and one linear layer follow.

    Parameters
    ----------
    spatial_dims
        2 or 3.
    in_channels
        Channels of the input.
    channels
        Features of each stage, from the finest to the bottleneck.
    strides
        Stride with which each stage begins; as many as ``channels``.
    res_units
        Convolutions in each stage.
    up_path
        Whether to go back up, with skips.
    dropout
        Probability of dropping a pooled feature.

    Raises
    ------
    ValueError
        If ``spatial_dims`` is neither 2 nor 3, or ``strides`` and ``channels`` differ in number.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256),
        strides: Sequence[int] = (2, 2, 2, 2),
        res_units: int = 2,
        up_path: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"expected spatial_dims 2 or 3, but found {spatial_dims}")
        if len(strides) != len(channels):
            raise ValueError(f"expected as many strides as channels, but found {len(strides)} and {len(channels)}")
        sources = [in_channels, *channels[:-1]]
        # _AddPositions: pooling forgets where a feature was, but where a finding is tells its level
        self.down = nn.ModuleList(
            nn.Sequential(
                _AddPositions(spatial_dims, source),
                ResidualUnit(
                    spatial_dims, source, features, strides=stride, subunits=res_units, norm=_NORM, act="RELU"
                ),
            )
            for source, features, stride in zip(sources, channels, strides, strict=True)
        )
        self.up = nn.ModuleList(
            _Up(spatial_dims, source=channels[n + 1], features=channels[n], stride=strides[n + 1])
            for n in (reversed(range(len(channels) - 1)) if up_path else ())
        )
        pooled = channels[0] if up_path else channels[-1]
        self.dropout = nn.Dropout(dropout)
        self.findings, self.grades = len(FINDINGS), len(Grade)
        self.head = nn.Linear(pooled, self.findings * self.grades)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, 25, 3)`` of images ``(batch, in_channels, *spatial)``."""
        skips = []
        features = image
        for stage in self.down:
            features = stage(features)
            skips.append(features)
        skips.pop()
        for step in self.up:
            features = step(features, skips.pop())
        pooled = features.flatten(2).mean(dim=-1)
        logits = self.head(self.dropout(pooled))
        return logits.view(-1, self.findings, self.grades)

    @torch.no_grad()
    def start_from(self, rows: torch.Tensor) -> None:
        """Make a new network answer with a prior, ``rows`` ``(25, 3)`` of probabilities, whatever the image.

        The head's weights become small and its bias the logarithm of the rows. Training then spends no steps on
        learning how common each grade is (Lin et al. 2017, arXiv:1708.02002, section 4.1).
        """
        self.head.weight.mul_(0.01)
        self.head.bias.copy_(rows.clamp(min=1e-4).log().flatten())


def channels_of(spatial_dims: int, grid_size: Sequence[int]) -> int:
    """Input channels of a study on a grid ``(R, A, S)``: intensity and coverage of each series; in 2-D, of each slice.

    In 2-D the slices become channels: a CPU computes 3-D convolutions of few channels slowly, and a first layer of 9 to
    16 channels costs more than the rest of a small network.
    """
    channels = 2 * len(SeriesType)
    return channels if spatial_dims == 3 else channels * grid_size[0]


class _AddPositions(nn.Module):
    """Adds a 1 x 1 convolution of each voxel's position, from -1 to 1 along every axis, to the features.

    Concatenating the positions before the next convolution would do the same (Liu et al. 2018, arXiv:1807.03247), but
    adding keeps the number of channels round, and convolutions on a CPU are slow with odd numbers.
    """

    def __init__(self, spatial_dims: int, features: int) -> None:
        super().__init__()
        self.place = (nn.Conv3d if spatial_dims == 3 else nn.Conv2d)(spatial_dims, features, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        axes = [torch.linspace(-1, 1, n, dtype=features.dtype, device=features.device) for n in features.shape[2:]]
        positions = torch.stack(torch.meshgrid(axes, indexing="ij"))
        return features + self.place(positions.unsqueeze(0))


class _Up(nn.Module):
    """One step up: a transposed convolution, the skip concatenated, one residual unit."""

    def __init__(self, spatial_dims: int, *, source: int, features: int, stride: int) -> None:
        super().__init__()
        self.rise = Convolution(
            spatial_dims, source, features, strides=stride, kernel_size=3, norm=_NORM, act="RELU", is_transposed=True
        )
        self.merge = ResidualUnit(spatial_dims, 2 * features, features, subunits=1, norm=_NORM, act="RELU")

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Merge features of the coarser stage with the skip of the finer one."""
        risen = self.rise(features)
        # a stage of odd size is one voxel longer after its way down and up; cutting keeps voxels in their places, where
        # stretching to the skip's size would shift them
        for axis in range(2, risen.dim()):
            risen = risen.narrow(axis, 0, skip.size(axis))
        return self.merge(torch.cat([risen, skip], dim=1))
