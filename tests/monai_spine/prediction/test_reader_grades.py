"""A reader's grade is no reason to grade a study again."""

import json
from pathlib import Path

import pytest

from monai_spine.data.corrections import Corrections, Signature
from monai_spine.data.corrections_file import NAME, write_corrections
from monai_spine.prediction.object_files import MANUFACTURER
from monai_spine.prediction.outcomes import Outcome, read_outcome
from monai_spine.prediction.reader_grades import behind, update_readers
from monai_spine.spine import FINDINGS
from tests.monai_spine.prediction.parts import write_object


def test_an_outcome_stays_valid_after_a_readers_grade_and_not_after_another_change(tmp_path: Path) -> None:
    folder = tmp_path / "s1"
    folder.mkdir()
    findings = [{"finding": one.name, "point": None} for one in FINDINGS]
    file = folder / "findings.json"
    file.write_text(json.dumps({"study_id": "s1", "findings": findings}))
    outcome = Outcome("s1", "print", weighted=[[0.3, 0.3, 0.4]] * len(FINDINGS), bad={"t2": "why"})
    outcome.write(folder)
    given = Corrections("s1").graded(FINDINGS[3].name, "severe", Signature.now("AB"))
    write_corrections(folder, given)
    before = file.read_bytes()
    assert behind(tmp_path) == [folder]
    update_readers(tmp_path, [folder])
    assert behind(tmp_path) == []
    assert file.read_bytes() != before
    assert read_outcome(folder, "print") == outcome
    file.write_text(file.read_text().replace("s1", "s2"))  # by somebody else
    write_corrections(folder, given.undone(Signature.now("AB")))
    update_readers(tmp_path, [folder])
    assert read_outcome(folder, "print") is None


def test_damaged_corrections_take_no_grade_away(tmp_path: Path) -> None:
    folder = tmp_path / "s1"
    folder.mkdir()
    findings = [{"finding": one.name, "point": None, "reader": {"grade": "severe"}} for one in FINDINGS]
    (folder / "findings.json").write_text(json.dumps({"study_id": "s1", "findings": findings}))
    (folder / NAME).write_text("{")
    assert behind(tmp_path) == []


def test_objects_stay_beside_the_findings_that_they_show_if_others_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, made = tmp_path / "s1", tmp_path / "s1" / "dicom" / "sr.dcm"
    write_object(made, MANUFACTURER)
    findings = [{"finding": one.name, "point": None} for one in FINDINGS]
    (folder / "findings.json").write_text(json.dumps({"study_id": "s1", "findings": findings}))
    write_corrections(folder, Corrections("s1").graded(FINDINGS[3].name, "severe", Signature.now("AB")))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            update_readers(tmp_path, [folder])
    assert made.is_file()
    update_readers(tmp_path, behind(tmp_path))
    assert not made.exists()
