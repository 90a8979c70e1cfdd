"""What is wrong between studies: ids listed twice, patients on both sides of a split, images used twice."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from data_prep.check.codes import Code
from data_prep.check.entries import Study
from data_prep.check.volume_facts import VolumeFacts, near_duplicates
from data_prep.faults import Fault
from data_prep.folds import connected
from monai_spine.errors import listed

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def faults_between_entries(studies: Sequence[Study]) -> Iterator[Fault]:
    """Studies that are listed twice, patients on two sides of a split, studies without a fold."""
    for same in _grouped((study.study_id, study) for study in studies):
        detail = f"{len(same)} times, in {' and '.join(sorted({study.section for study in same}))}"
        yield same[0].fault(Code.STUDY_TWICE, detail, others=same[1:])
    training = [study for study in studies if study.section == "training"]
    for of_patient in _grouped((study.patient_id, study) for study in training):
        folds = sorted({study.fold for study in of_patient if study.fold is not None})
        if len(folds) > 1:
            detail = f"{_ids(of_patient)} are of one patient, in the folds {', '.join(map(str, folds))}"
            yield of_patient[0].fault(Code.PATIENT_IN_SEVERAL_FOLDS, detail, others=of_patient[1:])
    for of_patient in _grouped((study.patient_id, study) for study in studies):
        if len({study.section for study in of_patient}) > 1:
            detail = f"{_ids(of_patient)} are of one patient"
            yield of_patient[0].fault(Code.PATIENT_IN_BOTH_SECTIONS, detail, others=of_patient[1:])
    if any(study.fold is not None for study in training):
        for study in training:
            if study.fold is None:
                yield study.fault(Code.NO_FOLD, "other studies have one")


def faults_between_images(studies: Mapping[int, Study], facts: Sequence[VolumeFacts]) -> Iterator[Fault]:
    """The same image twice, and near duplicates of two patients; constant images are left out."""
    images = _once_listed(studies, (one for one in facts if one.perceptual_hash))
    for same in _grouped((one.digest, one) for one in images):
        involved = _distinct(studies[one.number] for one in same)
        patients = {study.patient_id for study in involved}
        code = Code.IMAGE_OF_TWO_PATIENTS if len(patients) > 1 else Code.IMAGE_TWICE
        yield _of_images(code, same, involved, studies)
    firsts = list({one.digest: one for one in reversed(images)}.values())[::-1]
    pairs = near_duplicates([one.perceptual_hash for one in firsts])
    across = [(a, b) for a, b in pairs if _patient(studies, firsts[a]) != _patient(studies, firsts[b])]
    for members in _grouped(zip(connected(len(firsts), across).tolist(), firsts, strict=True)):
        yield _of_images(Code.IMAGES_ALIKE, members, _distinct(studies[one.number] for one in members), studies)


def _once_listed(studies: Mapping[int, Study], images: Iterable[VolumeFacts]) -> list[VolumeFacts]:
    """Images without those of a study's second entry, which has a fault of its own, `STUDY_TWICE`."""
    entry: dict[tuple[str, str], int] = {}
    return [
        one for one in images if entry.setdefault((studies[one.number].study_id, one.path), one.number) == one.number
    ]


def _of_images(
    code: Code, images: Sequence[VolumeFacts], involved: Sequence[Study], studies: Mapping[int, Study]
) -> Fault:
    first = images[0]
    names = [f"{studies[one.number].study_id}: {one.path}" for one in images[1:]]
    folds = {study.fold for study in involved if study.section == "training" and study.fold is not None}
    leak = f" (in the folds {', '.join(map(str, sorted(folds)))})" if len(folds) > 1 else ""
    return studies[first.number].fault(
        code, f"also {listed(names, '; ')}{leak}", series_type=first.series_type, path=first.path, others=involved[1:]
    )


def _patient(studies: Mapping[int, Study], facts: VolumeFacts) -> str:
    return studies[facts.number].patient_id


def _grouped(items: Iterable[tuple[Key, Item]]) -> list[list[Item]]:
    """Items with the same key, where there are several."""
    groups: dict[Key, list[Item]] = defaultdict(list)
    for key, item in items:
        groups[key].append(item)
    return [group for group in groups.values() if len(group) > 1]


def _distinct(studies: Iterable[Study]) -> list[Study]:
    return list({study.number: study for study in studies}.values())


def _ids(studies: Sequence[Study]) -> str:
    return listed([study.study_id for study in studies])
