"""Can the phantom's grades be read from its images, and from nothing else?

Scores of a logistic regression on crops at the true positions, in four-fold cross-validation, beside floor and prior;
then of the same regression with the images of other studies.

    python benchmarks/phantom_readability.py 200
"""

import sys

import numpy as np
from scipy.ndimage import map_coordinates
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from data_prep.choices import PhantomSize
from data_prep.phantom import study
from data_prep.phantom.acquire import acquire
from data_prep.phantom.labels import best_rows, prior_rows, score
from monai_spine.geometry import to_voxel
from monai_spine.spine import FINDINGS, Group, Level, SeriesType, Side

SEED = 21
FOLDS = 4
OFFSETS = np.arange(-13.0, 13.01, 0.8)
LEVELS = np.array([list(Level).index(finding.level) for finding in FINDINGS])
WEIGHTS = np.array([1, 2, 4])


def crop(volume, scan, place, flipped):
    """26 mm around a place in its slice, one pixel per 0.8 mm."""
    x, y, k = to_voxel(scan.affine, place + scan.motion)
    image = volume[int(np.clip(round(k), 0, len(volume) - 1))]
    across = OFFSETS / np.linalg.norm(scan.affine[:3, 0])
    columns, rows = np.meshgrid(x + across * (-1 if flipped else 1), y + across)
    pixels = map_coordinates(image, [rows, columns], order=1, mode="nearest")
    return (pixels / (np.percentile(image, 99) + 1)).ravel()


def crops(one):
    """A row of pixels per finding: the canal from two series, right recesses flipped to look like left ones."""
    rng = study.stream(one.seed, one.index, study.Stream.NOISE)
    scans = {series.series_type: series.stacks[0].scan for series in one.series}
    volumes = {name: acquire(one.anatomy, scan, rng).astype(np.float32) for name, scan in scans.items()}
    rows = []
    for finding in FINDINGS:
        condition = finding.condition
        names = [condition.series_type] + [SeriesType.AXIAL_T2] * (condition.group is Group.SPINAL)
        flipped = condition.side is Side.RIGHT and condition.group is Group.SUBARTICULAR
        place = one.anatomy.position(finding)
        rows.append(np.concatenate([crop(volumes[name], scans[name], place, flipped) for name in names]))
    return rows


def features(rows, levels, pixels):
    components = pixels.transform(rows) / 10
    return np.hstack([components, components[:, :20] ** 2, np.eye(len(Level))[levels]])


def predict(images, labels, order):
    """Out-of-fold rows ``(studies, 25, 3)`` of a model per group; ``order`` says whose images a study gets."""
    fold = np.arange(len(labels)) % FOLDS
    rows = np.zeros((*labels.shape, 3))
    for group in Group:
        members = [n for n, finding in enumerate(FINDINGS) if finding.condition.group is group]
        crops_of = np.array([[images[n][m] for m in members] for n in order])
        levels = np.tile(LEVELS[members], (len(labels), 1))
        for number in range(FOLDS):
            train, test = fold != number, fold == number
            pixels = make_pipeline(StandardScaler(), PCA(60, random_state=0)).fit(np.concatenate(crops_of[train]))
            target = labels[train][:, members].ravel()
            known = target >= 0
            model = LogisticRegression(C=0.02, max_iter=300)
            inputs = features(np.concatenate(crops_of[train]), levels[train].ravel(), pixels)
            model.fit(inputs[known], target[known], sample_weight=WEIGHTS[target[known]])
            answers = model.predict_proba(features(np.concatenate(crops_of[test]), levels[test].ravel(), pixels))
            rows[np.ix_(test, members)] = answers.reshape(test.sum(), len(members), 3)
    return rows


def main(count):
    with threadpool_limits(1):
        studies = [study.draw_study(SEED, index, PhantomSize.SMALL) for index in range(count)]
        images = [crops(one) for one in studies]
    labels = np.array([one.findings.labels for one in studies])
    posterior = np.array([one.findings.posterior for one in studies])
    others = np.random.default_rng(0).permutation(count)
    for name, rows in (
        ("floor", best_rows(posterior)),
        ("model", predict(images, labels, np.arange(count))),
        ("prior", prior_rows(labels)),
        ("model, images of other studies", predict(images, labels, others)),
    ):
        print(name, {part: round(value, 3) for part, value in score(labels, rows).items()})


if __name__ == "__main__":
    main(int(sys.argv[1]))
