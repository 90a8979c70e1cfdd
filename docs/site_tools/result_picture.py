"""The picture in the README: a graded study, its levels on the left and its 25 findings on the right.

python -m data_prep phantom cohort --studies 3 --seed 2 --size full
monai-spine predict -i cohort/train_images -o graded --name-by folder
python docs/site_tools/result_picture.py graded/2658454852 docs/result.png --labels cohort/train.csv
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from PIL import Image

LEVELS = ["l1_l2", "l2_l3", "l3_l4", "l4_l5", "l5_s1"]
CONDITIONS = {
    "spinal_canal_stenosis": "canal",
    "right_neural_foraminal_narrowing": "right\nforamen",
    "left_neural_foraminal_narrowing": "left\nforamen",
    "right_subarticular_stenosis": "right\nrecess",
    "left_subarticular_stenosis": "left\nrecess",
}
GRADES = {"normal_mild": "normal/mild", "moderate": "moderate", "severe": "severe"}
COLOURS = ListedColormap(["#dfeee3", "#f7dd9b", "#e8907f"])


def draw(study: Path, labels: Path | None) -> plt.Figure:
    findings = json.loads((study / "findings.json").read_text())["findings"]
    by_name = {finding["finding"]: finding for finding in findings}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), width_ratios=[1.05, 1], layout="constrained")
    picture = np.asarray(Image.open(study / "levels.png"))
    left.imshow(picture)
    left.set_axis_off()
    left.set_title("levels.png: the levels found, and the axial planes", fontsize=10)

    names = [[f"{condition}_{level}" for condition in CONDITIONS] for level in LEVELS]
    grades = [[list(GRADES).index(by_name[name]["grade"]) for name in row] for row in names]
    right.imshow(grades, cmap=COLOURS, vmin=0, vmax=2, aspect="auto")
    marked = read_labels(labels, study.name) if labels else {}
    for i, row in enumerate(names):
        for j, name in enumerate(row):
            finding = by_name[name]
            grade = finding["grade"]
            right.text(j, i, f"{GRADES[grade]}\n{finding['natural'][grade]:.2f}", ha="center", va="center", fontsize=9)
            if name in marked and marked[name] != GRADES[grade]:
                right.text(
                    j, i + 0.42, f"label: {marked[name]}", ha="center", va="bottom", fontsize=7.5, style="italic"
                )
    right.set_xticks(range(5), CONDITIONS.values(), fontsize=9)
    right.set_yticks(range(5), [level.upper().replace("_", "/") for level in LEVELS], fontsize=9)
    right.xaxis.tick_top()
    right.tick_params(length=0)
    right.set_title("findings.json: grade and its probability", fontsize=10)
    for edge in right.spines.values():
        edge.set_visible(False)
    return figure


def read_labels(path: Path, study: str) -> dict[str, str]:
    with path.open(newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["study_id"] == study)
    return {name: grade.lower() for name, grade in row.items() if grade and name != "study_id"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of one study in the output of monai-spine predict")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--labels", type=Path, help="train.csv: says where the label differs")
    arguments = parser.parse_args()
    figure = draw(arguments.study, arguments.labels)
    figure.savefig(arguments.picture, dpi=100)
    Image.open(arguments.picture).convert("RGB").save(arguments.picture, optimize=True)


if __name__ == "__main__":
    main()
