"""A reader's grade is no reason to grade a study again."""

import json
from pathlib import Path

from monai_spine.data.corrections import Corrections, Signature
from monai_spine.data.corrections_file import write_corrections
from monai_spine.prediction.outcomes import Outcome, read_outcome
from monai_spine.prediction.reader_grades import update_reader
from monai_spine.spine import FINDINGS


def test_an_outcome_stays_valid_after_a_readers_grade_and_not_after_another_change(tmp_path: Path) -> None:
    findings = [{"finding": one.name, "point": None} for one in FINDINGS]
    file = tmp_path / "findings.json"
    file.write_text(json.dumps({"study_id": "s1", "findings": findings}))
    outcome = Outcome("s1", "print", weighted=[[0.3, 0.3, 0.4]] * len(FINDINGS), bad={"t2": "why"})
    outcome.write(tmp_path)
    given = Corrections("s1").graded(FINDINGS[3].name, "severe", Signature.now("AB"))
    write_corrections(tmp_path, given)
    before = file.read_bytes()
    update_reader(tmp_path)
    assert file.read_bytes() != before
    assert read_outcome(tmp_path, "print") == outcome
    file.write_text(file.read_text().replace("s1", "s2"))  # by somebody else
    update_reader(tmp_path)
    assert read_outcome(tmp_path, "print") is None
