"""Fingerprints and what is unlike them, on made-up measurements."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.check import fingerprint as fingerprints
from data_prep.check.codes import Code
from data_prep.check.entries import Study
from data_prep.check.fingerprint import Spread, spread_of
from data_prep.check.volume_facts import FEATURES, VolumeFacts
from data_prep.check.volume_faults import distance, faults_against, faults_within
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.geometry import Plane
from monai_spine.spine import FINDINGS, SeriesType

KIND = SeriesType.SAGITTAL_T2
NAMES = [name for name, feature in FEATURES.items() if feature.floor is not None]


def studies_of(labels: np.ndarray) -> list[Study]:
    return [
        Study(n, "training", f"s{n}", f"p{n}", n % 2, dict.fromkeys(SeriesType, ()) | {KIND: (f"{n}.nii",)}, row, {})
        for n, row in enumerate(labels)
    ]


def facts_of(count: int, seed: int = 0) -> list[VolumeFacts]:
    """Volumes whose features vary by some 3 %."""
    rng = np.random.default_rng(seed)
    return [
        VolumeFacts(
            n, KIND, f"{n}.nii", Plane.SAGITTAL, {name: 10.0 * rng.uniform(0.97, 1.03) for name in FEATURES},
            np.zeros((2, 3)), str(n), b"",
        )
        for n in range(count)
    ]  # fmt: skip


def with_feature(facts: list[VolumeFacts], places: list[int], name: str, value: float) -> list[VolumeFacts]:
    changed = list(facts)
    for place in places:
        changed[place] = replace(facts[place], features={**facts[place].features, name: value})
    return changed


def by_number(count: int) -> dict[int, Study]:
    return dict(enumerate(studies_of(np.zeros((count, 25), dtype=np.int64))))


def test_volumes_of_one_protocol_are_no_outliers():
    assert list(faults_within(by_number(40), facts_of(40))) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_volume_far_from_all_others_is_an_outlier_in_that_feature(name):
    value = 500.0 if FEATURES[name].logarithmic else 60.0
    facts = with_feature(facts_of(40), [7], name, value)
    (fault,) = faults_within(by_number(40), facts)
    assert (fault.code, fault.number, fault.path) == (Code.OUTLIER, 7, "7.nii")
    assert fault.detail.startswith(FEATURES[name].title) and ";" not in fault.detail


def test_a_second_protocol_is_no_outlier():
    facts = with_feature(facts_of(40), [1, 2, 3, 4], "field_width_mm", 500.0)
    assert list(faults_within(by_number(40), facts)) == []


@pytest.mark.parametrize(("odd", "outliers"), [(4, 4), (5, 0)])
def test_a_value_of_more_than_two_volumes_in_a_hundred_is_a_second_protocol(odd, outliers):
    facts = with_feature(facts_of(200), list(range(odd)), "slice_spacing_mm", 40.0)
    assert len(list(faults_within(by_number(200), facts))) == outliers


@pytest.mark.parametrize(("value", "unlike"), [(1.0, False), (0.9, True), (90.0, False), (91.0, True)])
def test_values_within_the_stored_range_are_not_unlike_it_however_rare_they_were(value, unlike):
    stored = {KIND: {"slice_spacing_mm": Spread(99, 1.0, 3.9, 4.0, 4.0, 4.0, 4.1, 90.0)}}
    facts = with_feature(facts_of(1), [0], "slice_spacing_mm", value)
    assert [fault.code for fault in faults_against(by_number(1), facts, stored)] == [Code.OUTSIDE_FINGERPRINT] * unlike


def test_few_volumes_are_not_compared_with_each_other():
    facts = with_feature(facts_of(10), [7], "field_width_mm", 500.0)
    assert list(faults_within(by_number(10), facts)) == []


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30), st.sampled_from(NAMES))
def test_the_median_is_at_no_distance_and_distances_are_never_negative(values, name):
    feature, spread = FEATURES[name], spread_of(values)
    assert distance(spread.median, spread, feature) == 0.0
    assert all(0.0 <= distance(value, spread, feature) < np.inf for value in values)


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=40))
def test_a_spread_is_in_order(values):
    spread = spread_of(values)
    levels = [spread.minimum, spread.p5, spread.p25, spread.median, spread.p75, spread.p95, spread.maximum]
    assert levels == sorted(levels)
    assert levels[3] == pytest.approx(float(np.median(values)), rel=1e-4)


def stored(tmp_path, count: int = 30, labels: np.ndarray | None = None) -> fingerprints.Fingerprint:
    studies = studies_of(np.zeros((count, 25), dtype=np.int64) if labels is None else labels)
    facts = facts_of(count)
    path = tmp_path / "fingerprint.json"
    path.write_text(json.dumps(fingerprints.fingerprint_of(studies, facts, facts)))
    return fingerprints.read(path)


def test_a_fingerprint_comes_back_from_its_file(tmp_path):
    known = stored(tmp_path)
    facts = facts_of(30)
    assert set(known.spreads[KIND]) == set(FEATURES)
    assert known.spreads[KIND]["slices"] == spread_of([one.features["slices"] for one in facts])
    assert known.spreads[SeriesType.AXIAL_T2] == {}
    assert known.grades[FINDINGS[0].name] == {"normal_mild": 30, "moderate": 0, "severe": 0}


def test_volumes_like_the_fingerprint_are_not_told_and_others_are(tmp_path):
    known = stored(tmp_path)
    facts = with_feature(facts_of(5, seed=1), [3], "slice_spacing_mm", 30.0)
    (fault,) = faults_against(by_number(5), facts, known.spreads)
    assert (fault.code, fault.number) == (Code.OUTSIDE_FINGERPRINT, 3)
    assert "distance of slices 30 mm" in fault.detail


def test_shares_that_differ_by_more_than_chance_are_told(tmp_path):
    known = stored(tmp_path, count=200, labels=np.zeros((200, 25), dtype=np.int64))
    labels = np.zeros((100, 25), dtype=np.int64)
    labels[:40, 3] = 2
    labels[:2, 4] = 2
    (fault,) = fingerprints.faults_of_shares(studies_of(labels), known)
    assert (fault.code, fault.targets) == (Code.LABEL_SHARES_DIFFER, (FINDINGS[3].name,))
    assert "40.0 % of 100" in fault.detail


def test_missing_labels_do_not_count_in_shares():
    labels = np.full((4, 25), -1)
    labels[:3, 0] = [0, 1, 1]
    facts = facts_of(4)
    content = fingerprints.fingerprint_of(studies_of(labels), facts, facts)
    cell = content["labels"]["spinal_canal_stenosis"]["l1_l2"]
    assert cell["shares"] == {"normal_mild": 0.3333, "moderate": 0.6667, "severe": 0.0}
    assert cell["missing"] == 1
    assert content["labels"]["spinal_canal_stenosis"]["l2_l3"]["shares"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "expected the schema"),
        ('{"schema": "monai_spine/datalist/1"}', "found 'monai_spine/datalist/1'"),
        ('{"schema": "monai_spine/fingerprint/1", "series": {}}', "breaks its format"),
        ('{"schema": "monai_spine/check/1"}', "expected the schema"),
    ],
)
def test_what_is_no_fingerprint_is_refused_with_its_name(tmp_path, text, message):
    path = tmp_path / "f.json"
    path.write_text(text)
    with pytest.raises(InvalidTableError, match=rf"f\.json.*{message}"):
        fingerprints.read(path)
    with pytest.raises(MissingInputError, match="there is no fingerprint"):
        fingerprints.read(tmp_path / "none.json")
