"""Enhanced multi-frame objects: each frame's position, orientation, rescale and contrast, from its groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydicom.dataset import Dataset

from data_prep.dicom.frames import Contrast, Frame, Geometry
from data_prep.dicom.refusals import Reason, Refused
from monai_spine.errors import counted


class Group:
    """The functional groups of one frame. The frame's own values go before those that all frames share."""

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self._own = own
        self._shared = shared

    def get(self, sequence: str, keyword: str) -> object:
        """A value in the first item of a functional group's sequence; None when absent."""
        for level in (self._own, self._shared):
            items = level.get(sequence)
            if items:
                value = items[0].get(keyword)
                if value is not None:
                    return value
        return None

    def numbers(self, sequence: str, keyword: str) -> tuple[float, ...]:
        """A value as floats; empty when absent."""
        value = self.get(sequence, keyword)
        if value is None or value == "":
            return ()
        values = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
        return tuple(float(item) for item in values)

    def number(self, sequence: str, keyword: str) -> float | None:
        """The first of a value's numbers; None when absent."""
        values = self.numbers(sequence, keyword)
        return values[0] if values else None

    def texts(self, sequence: str, keyword: str) -> tuple[str, ...]:
        """A value as strings; empty when absent."""
        value = self.get(sequence, keyword)
        if value is None or value == "":
            return ()
        return (value,) if isinstance(value, str) else tuple(str(item) for item in value)  # type: ignore[attr-defined]


def groups(dataset: Dataset | None, frames: int) -> Iterator[Group] | None:
    """The functional groups of each frame; None for an object without per-frame groups.

    Raises
    ------
    Refused
        ``UNREADABLE`` if there are more or fewer groups than frames.
    """
    own = dataset.get("PerFrameFunctionalGroupsSequence") if dataset is not None else None
    if dataset is None or own is None:
        return None
    if len(own) != frames:
        raise Refused(Reason.UNREADABLE, f"functional groups of {counted(len(own), 'frame')} in an object of {frames}")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    for_all = shared[0] if shared else Dataset()
    return (Group(item, for_all) for item in own)


def frame(template: Frame, index: int, group: Group) -> Frame:
    """One frame of a multi-frame object. Its own values replace those of the whole object."""
    slope = group.number("PixelValueTransformationSequence", "RescaleSlope")
    intercept = group.number("PixelValueTransformationSequence", "RescaleIntercept")
    return replace(
        template,
        index=index,
        contrast=_contrast(template.contrast, group),
        geometry=_geometry(group),
        slope=template.slope if slope is None else slope,
        intercept=template.intercept if intercept is None else intercept,
        hints=(*template.hints, *_hints(group)),
        parameters=_parameters(template, group),
    )


def _geometry(group: Group) -> Geometry | None:
    values = (
        group.numbers("PlaneOrientationSequence", "ImageOrientationPatient"),
        group.numbers("PlanePositionSequence", "ImagePositionPatient"),
        group.numbers("PixelMeasuresSequence", "PixelSpacing"),
    )
    return Geometry(*values) if all(values) else None


def _contrast(whole: Contrast, group: Group) -> Contrast:
    frame_type = group.texts("MRImageFrameTypeSequence", "FrameType") or group.texts(
        "CTImageFrameTypeSequence", "FrameType"
    )
    component = "".join(group.texts("MRImageFrameTypeSequence", "ComplexImageComponent"))
    echo = group.number("MREchoSequence", "EffectiveEchoTime")
    b_value = group.number("MRDiffusionSequence", "DiffusionBValue")
    return replace(
        whole,
        image_type=frame_type or whole.image_type,
        component="/".join(filter(None, (whole.component, component))),
        echo_time=whole.echo_time if echo is None else round(echo, 3),
        b_value=whole.b_value if b_value is None else round(b_value, 3),
    )


def _hints(group: Group) -> Iterator[tuple[str, object]]:
    content = "FrameContentSequence"
    temporal = group.number(content, "TemporalPositionIndex")
    if temporal is not None:
        yield "temporal position", temporal
    for column, value in enumerate(group.numbers(content, "DimensionIndexValues")):
        yield f"dimension {column}", value
    gradient = _gradient(group)
    if gradient:
        yield "diffusion direction", gradient
    for name, sequence, keyword in (
        ("inversion time", "MRModifierSequence", "InversionTimes"),
        ("flip angle", "MRTimingAndRelatedParametersSequence", "FlipAngle"),
        ("trigger time", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
        ("acquisition", content, "FrameAcquisitionNumber"),
    ):
        numbers = group.numbers(sequence, keyword)
        if numbers:
            yield name, numbers
    time = group.texts(content, "FrameAcquisitionDateTime")
    if time:
        yield "acquisition time", time[0]


def _gradient(group: Group) -> tuple[float, ...]:
    items = group.get("MRDiffusionSequence", "DiffusionGradientDirectionSequence")
    if not items:
        return ()
    return tuple(round(float(item), 6) for item in items[0].get("DiffusionGradientOrientation", ()))  # type: ignore[index]


def _parameters(template: Frame, group: Group) -> tuple[tuple[str, object], ...]:
    """Sequence parameters, under the keywords that single-frame objects use."""
    parameters = dict(template.parameters)
    numbers = {
        "EchoTime": group.number("MREchoSequence", "EffectiveEchoTime"),
        "RepetitionTime": group.number("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
        "FlipAngle": group.number("MRTimingAndRelatedParametersSequence", "FlipAngle"),
        "EchoTrainLength": group.number("MRTimingAndRelatedParametersSequence", "EchoTrainLength"),
        "InversionTime": group.number("MRModifierSequence", "InversionTimes"),
        "NumberOfAverages": group.number("MRAveragesSequence", "NumberOfAverages"),
        "SliceThickness": group.number("PixelMeasuresSequence", "SliceThickness"),
    }
    parameters |= {name: value for name, value in numbers.items() if value is not None}
    return tuple(sorted(parameters.items()))
