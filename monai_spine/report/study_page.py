"""The page of a study before it is rendered: its result and its pictures."""

from __future__ import annotations

from dataclasses import dataclass

from monai_spine.errors import InvalidVolumeError, MissingInputError
from monai_spine.prediction.study_output import GradedStudy
from monai_spine.report.crop_pictures import CropPictures, crop_pictures
from monai_spine.report.spine_picture import SpinePicture, spine_picture
from monai_spine.report.study_result import StudyResult, result_of
from monai_spine.spine import SeriesType

NO_VOLUMES = "The volumes of the study are not in the output folder. Name the inputs of predict with -i."


@dataclass(frozen=True)
class StudyPage:
    """What a page shows.

    Attributes
    ----------
    spine
        The mid-sagittal slice; None if there is no volume or no point.
    crops
        None if no volume can be read.
    without_pictures
        Why there are no pictures; empty if there are.
    """

    result: StudyResult
    spine: SpinePicture | None = None
    crops: CropPictures | None = None
    without_pictures: str = ""


def study_page(study: GradedStudy, *, explain: bool = True) -> StudyPage:
    """The page of a graded study. If a volume cannot be read any more, it has no pictures and says why.

    ``explain`` is whether it shows where the grader looked.
    """
    result = result_of(study.content, study.folder.name)
    if not any(study.record.get(series_type.value) for series_type in SeriesType):
        return StudyPage(result, without_pictures=NO_VOLUMES)
    try:
        return StudyPage(result, spine_picture(study.record, result), crop_pictures(study, result, explain=explain))
    except (InvalidVolumeError, MissingInputError) as error:
        return StudyPage(result, without_pictures=_without_folders(str(error), study))


def _without_folders(text: str, study: GradedStudy) -> str:
    """A message without the folders of this machine."""
    for files in (study.record.get(key, ()) for key in ("sagittal_t1", "sagittal_t2", "axial_t2")):
        for file in files:
            text = text.replace(str(file), str(file).replace("\\", "/").rpartition("/")[2])
    return text
