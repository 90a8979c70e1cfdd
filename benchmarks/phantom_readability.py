"""Are the phantom's grades readable from its images, and from them alone?

A logistic regression on crops at the true positions, in four-fold cross-validation, against floor and prior; then the
same with the images of other studies.

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

from data_prep.phantom import floor, points, study
from data_prep.phantom.acquisition import acquire
from data_prep.phantom.size import Size
from monai_spine.geometry import to_voxel
from monai_spine.spine import FINDINGS, Group, Level, SeriesType, Side

SEED = 21
FOLDS = 4
OFFSETS = np.arange(-13.0, 13.01, 0.8)
LEVELS = np.array([list(Level).index(finding.level) for finding in FINDINGS])
WEIGHTS = np.array([1, 2, 4])


def crop(volume, scan, place, mirrored):
    """26 mm around a place in its slice, one pixel per 0.8 mm."""
    x, y, k = to_voxel(scan.affine, place + scan.motion)
    image = volume[int(np.clip(round(k), 0, len(volume) - 1))]
    across = OFFSETS / np.linalg.norm(scan.affine[:3, 0])
    columns, rows = np.meshgrid(x + across * (-1 if mirrored else 1), y + across)
    found = map_coordinates(image, [rows, columns], order=1, mode="nearest")
    return (found / (np.percentile(image, 99) + 1)).ravel()


def crops(one):
    """A row of pixels per finding; the canal is seen in two series, right recesses are mirrored."""
    rng = study.stream(one.seed, one.index, study.Stream.NOISE)
    scans = {series.kind: series.stacks[0].scan for series in one.series}
    volumes = {kind: acquire(one.anatomy, scan, rng).astype(np.float32) for kind, scan in scans.items()}
    rows = []
    for finding in FINDINGS:
        condition = finding.condition
        kinds = [condition.series_type] + [SeriesType.AXIAL_T2] * (condition.group is Group.SPINAL)
        mirrored = condition.side is Side.RIGHT and condition.group is Group.SUBARTICULAR
        place = points.position(one.anatomy, finding)
        rows.append(np.concatenate([crop(volumes[kind], scans[kind], place, mirrored) for kind in kinds]))
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
        seen = np.array([[images[n][m] for m in members] for n in order])
        levels = np.tile(LEVELS[members], (len(labels), 1))
        for number in range(FOLDS):
            train, test = fold != number, fold == number
            pixels = make_pipeline(StandardScaler(), PCA(60, random_state=0)).fit(np.concatenate(seen[train]))
            target = labels[train][:, members].ravel()
            known = target >= 0
            model = LogisticRegression(C=0.02, max_iter=300)
            given = features(np.concatenate(seen[train]), levels[train].ravel(), pixels)
            model.fit(given[known], target[known], sample_weight=WEIGHTS[target[known]])
            found = model.predict_proba(features(np.concatenate(seen[test]), levels[test].ravel(), pixels))
            rows[np.ix_(test, members)] = found.reshape(test.sum(), len(members), 3)
    return rows


def main(count):
    with threadpool_limits(1):
        studies = [study.draw(SEED, index, Size.SMALL) for index in range(count)]
        images = [crops(one) for one in studies]
    labels = np.array([one.findings.labels for one in studies])
    posterior = np.array([one.findings.posterior for one in studies])
    others = np.random.default_rng(0).permutation(count)
    for name, rows in (
        ("floor", floor.best_rows(posterior)),
        ("model", predict(images, labels, np.arange(count))),
        ("prior", floor.prior_rows(labels)),
        ("model, images of other studies", predict(images, labels, others)),
    ):
        print(name, {part: round(value, 3) for part, value in floor.score(labels, rows).items()})


if __name__ == "__main__":
    main(int(sys.argv[1]))
