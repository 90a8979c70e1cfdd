"""Datalists with the truth of phantoms."""

import csv
import json

import numpy as np
import pytest

from data_prep.collection.assembly import Run
from data_prep.phantom.cohort import generate
from data_prep.phantom.truth import write_truth
from data_prep.rsna2024.datalist import build
from monai_spine.data.datalist import read_datalist
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.spine import FINDINGS


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    generate(folder / "rsna", 3, 4, quirks=True, workers=1, quiet=True)
    build(folder / "rsna", folder / "nifti", Run(3, 0, 1, None, False, True))
    return folder


def test_every_label_has_its_probabilities_and_every_point_its_true_place(cohort):
    count = write_truth(cohort / "nifti/datalist.json", [cohort / "rsna/truth.csv"], cohort / "nifti/truth.json")
    records, before = (read_datalist(cohort / f"nifti/{name}.json") for name in ("truth", "datalist"))
    assert count == len(records) == len(before) == 3
    rows = list(csv.DictReader((cohort / "rsna/truth.csv").open(newline="")))
    truth = {(row["study_id"], f"{row['condition']}_{row['level']}"): row for row in rows}
    for record, old in zip(records, before, strict=True):
        assert np.array_equal(record["label"], old["label"]) and record["sagittal_t2"] == old["sagittal_t2"]
        soft = [truth[record["study_id"], finding.name] for finding in FINDINGS]
        for finding, row, label, values in zip(FINDINGS, soft, record["label"], record["soft_label"], strict=True):
            if label is None or label < 0:
                assert not np.any(values)
            else:
                assert values == pytest.approx(
                    [float(row[grade]) for grade in ("normal_mild", "moderate", "severe")], abs=1e-4
                )
                assert sum(values) == pytest.approx(1.0, abs=1e-4)
            if row["x"]:
                place = [float(row[axis]) for axis in "xyz"]
                assert np.allclose(record["points"][finding.name], place)


def test_a_study_without_truth_and_other_files_are_refused(cohort, tmp_path):
    other = tmp_path / "truth.csv"
    with pytest.raises(MissingInputError, match="there is no"):
        write_truth(cohort / "nifti/datalist.json", [other], tmp_path / "out.json")
    other.write_text("study_id,condition\n1,a\n")
    with pytest.raises(InvalidTableError, match="it lacks level"):
        write_truth(cohort / "nifti/datalist.json", [other], tmp_path / "out.json")
    rows = (cohort / "rsna/truth.csv").read_text().splitlines()
    study = rows[1].split(",")[0]
    other.write_text("\n".join(row for row in rows if not row.startswith(study)) + "\n")
    with pytest.raises(InvalidTableError, match=f"study {study} has no truth"):
        write_truth(cohort / "nifti/datalist.json", [other], tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    assert json.loads((cohort / "nifti/datalist.json").read_text())["schema"]
