"""What the canal's diameter says about its grade, and its share in the grade."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.errors import InvalidTableError
from monai_spine.files import digest_of
from monai_spine.grading.canal_opinion import CANAL_MM, CanalOpinion, opinion_path
from monai_spine.grading.grader import Grader
from monai_spine.levels.several_locators import SeveralLocators
from monai_spine.prediction.models import open_models
from monai_spine.scoring.prevalence import natural_prevalence, normalised
from monai_spine.spine import FINDINGS, Group, Level
from tests.monai_spine.prediction.parts import points_of_spine, record_of, write_bundle, write_study

CANAL = [n for n, finding in enumerate(FINDINGS) if finding.condition.group is Group.SPINAL]
OPINION = CanalOpinion(0.3, np.array([12.0, 20.0]), np.array([-1.1, -1.9]), "own", "levels")
SOME = {Level.L2_L3: 7.0, Level.L5_S1: 15.0}


def rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([1, 1, 1], size=len(FINDINGS))


def test_the_shipped_opinion_belongs_to_the_shipped_weights_and_localizer() -> None:
    models = open_models(device="cpu")
    assert models.canal_locator is models.levels
    assert replace(models, level_weights="").canal_locator is None
    (grader,) = models.graders
    other = Grader(name="other", model=grader.model, opinion=replace(grader.opinion, localizer="other"))
    assert replace(models, graders=(grader, other)).canal_locator is None
    assert replace(models, levels=SeveralLocators([models.levels])).canal_locator is None
    narrow, wide = grader.opinion.grades(np.array([6.0, 15.0]))
    assert narrow.argmax() == 2
    assert wide.argmax() == 0


def test_a_fit_finds_the_opinion_that_made_its_labels() -> None:
    mm = np.linspace(5, 18, 400)
    fitted = CanalOpinion.fit(mm, OPINION.grades(mm), 0.3)
    assert fitted.grades(mm) == pytest.approx(OPINION.grades(mm), abs=2e-3)


@given(st.floats(4.0, 20.0), st.floats(0.1, 5.0), st.integers(0, 20), st.floats(0.01, 1.0))
def test_a_narrower_canal_is_never_graded_as_milder(mm: float, less: float, seed: int, share: float) -> None:
    own = CanalOpinion(share, OPINION.intercepts, OPINION.slopes)
    wide, narrow = (own.pooled(rows(seed), {Level.L3_L4: one})[CANAL[2]] for one in (mm, mm - less))
    assert narrow[2] >= wide[2] - 1e-9
    assert narrow[0] <= wide[0] + 1e-9


def test_only_grades_of_canals_of_known_diameter_change() -> None:
    weighted = rows()
    pooled = OPINION.pooled(weighted, SOME)
    changed = np.flatnonzero(np.abs(pooled - weighted).max(axis=1) > 1e-12)
    assert changed.tolist() == [CANAL[1], CANAL[4]]
    assert pooled.sum(axis=1) == pytest.approx(1)
    assert OPINION.pooled(weighted, {}) == pytest.approx(weighted)


def test_the_pool_lies_between_both_opinions_and_is_one_of_them_at_the_ends() -> None:
    weighted = normalised(rows())
    for share, expected in ((0.0, natural_prevalence(weighted)[CANAL[1]]), (1.0, OPINION.grades(np.array([7.0]))[0])):
        own = CanalOpinion(share, OPINION.intercepts, OPINION.slopes)
        assert natural_prevalence(own.pooled(weighted, SOME))[CANAL[1]] == pytest.approx(expected, abs=1e-9)
    images, diameter = natural_prevalence(weighted)[CANAL[1]], OPINION.grades(np.array([7.0]))[0]
    expected = normalised(images**0.7 * diameter**0.3)
    assert natural_prevalence(OPINION.pooled(weighted, SOME))[CANAL[1]] == pytest.approx(expected)


def test_a_diameter_that_no_canal_has_says_no_more_than_the_least_one() -> None:
    assert OPINION.grades(np.array([0.0, 4.0, 5.0]))[0] == pytest.approx(OPINION.grades(np.array([4.0]))[0])


def test_a_file_is_read_as_it_was_written_and_refused_if_it_is_damaged_or_of_others(tmp_path: Path) -> None:
    path = opinion_path(tmp_path / "model.pt")
    assert path.name == "model.canal.json"
    OPINION.write(path)
    read = CanalOpinion.read(path, "own")
    assert (read.share, read.weights, read.localizer) == (0.3, "own", "levels")
    assert read.grades(np.array([9.0])) == pytest.approx(OPINION.grades(np.array([9.0])))
    with pytest.raises(InvalidTableError, match="weights beside it"):
        CanalOpinion.read(path, "others")
    for content in ("{", "[]", path.read_text().replace("0.3", "3"), path.read_text().replace("20.0", "NaN")):
        path.write_text(content)
        with pytest.raises(InvalidTableError, match=r"model\.canal\.json"):
            CanalOpinion.read(path, "own")


def test_a_grader_gives_the_diameter_its_share_and_says_what_the_images_alone_say(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "one")
    record = record_of(write_study(tmp_path / "s1"), points_of_spine())
    plain = Grader.from_bundle(bundle)
    weights = bundle / "models/model.pt"
    opinion = CanalOpinion(0.3, OPINION.intercepts, OPINION.slopes, digest_of([weights]), "levels")
    opinion.write(opinion_path(weights))
    grader = Grader.from_bundle(bundle)
    assert grader.digest != plain.digest
    alone = grader(record)
    assert alone.images is None
    assert alone.natural == pytest.approx(plain(record).natural)
    both = grader({**record, CANAL_MM: SOME})
    assert both.images == pytest.approx(alone.natural)
    assert both.weighted == pytest.approx(opinion.pooled(alone.weighted, SOME))
    assert both.natural == pytest.approx(natural_prevalence(both.weighted))
