"""Compares the image classifier with a plain timm loop on four sets of images.

Both have the same split, network, image size, batch size and number of epochs.

python benchmarks/image_tasks.py OUT [PHANTOMS] [SETS, such as digits,cells,levels,findings] [EPOCHS]

- ``digits``: scikit-learn's 1,797 handwritten digits, ten classes, a folder each.
- ``cells``: generated cells of three grey files each; the three classes differ only in how the channels overlap.
- ``levels``: the axial plane at each disc of phantom studies; the class is the level, patients stay in one fold.
- ``findings``: the same planes and the middle sagittal ones; several labels: the sequence, and each condition that is
  moderate or worse.

PHANTOMS is a folder with a datalist.json of phantom studies, for the last two sets. Each set is prepared with
`data_prep images` and trained with `monai.bundle run training`. Both are evaluated on fold 0 with the weights of the
last epoch. Seconds are the processor time of one thread, from the files to the last weights.
"""

from __future__ import annotations

import csv
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from plain_loop import Pictures, logits_of, steps
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from monai_spine.spine import TARGETS

NETWORKS = {"digits": ("resnet18", 32), "cells": ("resnet10t", 64), "levels": ("resnet10t", 96)}
NETWORKS["findings"] = NETWORKS["levels"]
CONFIG = Path(__file__).parents[1] / "bundles" / "image_classifier" / "configs" / "train.json"


def grey(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)


def digits(folder: Path, _: Path) -> list[str]:
    images = load_digits()
    for n, (picture, label) in enumerate(zip(images.images, images.target, strict=True)):
        grey(folder / str(label) / f"{n}.png", picture * 15.9)
    return ["folders", str(folder)]


def cells(folder: Path, _: Path) -> list[str]:
    """A nucleus, threads and a reticulum, which lies around the nucleus, apart from it, or along the threads."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    for n in range(900):
        rng, label = np.random.default_rng(n), ("around", "apart", "along")[n % 3]
        middle = rng.uniform(-0.3, 0.3, 2)
        distance = np.hypot(x - middle[0], y - middle[1])
        turn, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        threads = np.sin(14 * (x * np.cos(turn) + y * np.sin(turn)) + phase) > 0.3
        body = distance < 0.75
        reticulum = {
            "around": (distance > 0.3) & (distance < 0.5),
            "apart": (distance > 0.5) & body,
            "along": threads & body,
        }[label]
        blobs = rng.random((64, 64)) < 0.6
        for name, shape in (("nucleus", distance < 0.28), ("threads", threads & body), ("er", reticulum & blobs)):
            light = rng.uniform(90, 200) * shape + rng.normal(20, 25, (64, 64))
            grey(folder / label / f"{n:04d}_{name}.png", light)
    channels = ["--pattern", "{sample}_{channel}.png", "--channels", "nucleus,threads,er"]
    return ["channels", str(folder), *channels]


def planes(data: Path, series_types: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], str, str, np.ndarray]]:
    """Study, series type, level or "all", and the plane through the canal point of the level (for "all", of L3/L4)."""
    content = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    for entry in content["training"]:
        for series_type in series_types:
            if not entry.get(series_type):
                continue
            volume = nib.load(data / entry[series_type][0])
            voxels = np.asarray(volume.dataobj, dtype=np.float32)
            low, high = np.percentile(voxels, (1, 99.5))
            into = np.linalg.inv(volume.affine)
            for level in ("l1_l2", "l2_l3", "l3_l4", "l4_l5", "l5_s1") if series_type == "axial_t2" else ("l3_l4",):
                point = entry["points"].get(f"spinal_canal_stenosis_{level}")
                if point is None:
                    continue
                k = round(float((into @ [*point, 1.0])[2]))
                if 0 <= k < voxels.shape[2]:
                    picture = (voxels[:, :, k].T - low) / (high - low) * 255
                    yield entry, series_type, level if series_type == "axial_t2" else "all", picture


def levels(folder: Path, data: Path) -> list[str]:
    for entry, _, level, picture in planes(data, ("axial_t2",)):
        grey(folder / level / f"{entry['study_id']}_{level}.png", picture)
    return ["folders", str(folder), "--patient-pattern", "{patient}_*.png"]


def findings(folder: Path, data: Path) -> list[str]:
    rows = []
    for entry, series_type, level, picture in planes(data, ("sagittal_t1", "sagittal_t2", "axial_t2")):
        graded = [n for n, name in enumerate(TARGETS) if level == "all" or name.endswith(level)]
        shows = {TARGETS[n].replace(f"_{level}", "") for n in graded if entry["label"][n] >= 1}
        if level == "all":
            shows = {"spinal_canal_stenosis"} if any("spinal" in name for name in shows) else set()
        else:
            shows -= {name for name in shows if "foraminal" in name}
        name = f"{entry['study_id']}_{series_type}_{level}.png"
        grey(folder / name, picture)
        sequence = "T1" if series_type == "sagittal_t1" else "T2"
        rows.append([name, entry["study_id"], "|".join(sorted({sequence} | shows))])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "patient", "shows"], *rows])
    columns = ["--image-column", "image", "--labels-column", "shows", "--patient-column", "patient"]
    return ["table", str(folder / "labels.csv"), *columns]


def peer(data: Path, backbone: str, pixels: int, epochs: int, *, mirror: bool) -> tuple[np.ndarray, float]:
    """The plain loop's probabilities for fold 0, and its processor seconds."""
    content = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    sides = [[e for e in content["training"] if (e["fold"] == 0) is side] for side in (False, True)]
    begin = time.process_time()
    training = Pictures(sides[0], data, pixels, mirror=mirror)
    *_, network = steps(training, backbone, len(content["classes"]), epochs)
    logits = logits_of(network, Pictures(sides[1], data, pixels))
    multilabel = isinstance(sides[0][0]["label"], list)
    probabilities = logits.sigmoid() if multilabel else logits.softmax(dim=1)
    return probabilities.numpy(), time.process_time() - begin


def ours(data: Path, run: Path, backbone: str, pixels: int, epochs: int, *, mirror: bool) -> tuple[np.ndarray, float]:
    """The bundle's probabilities for fold 0 after the last epoch, and its processor seconds, evaluation aside."""
    shutil.rmtree(run, ignore_errors=True)
    bundle = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run"]
    where = ["--dataset_dir", str(data), "--bundle_root", str(run), "--backbone", backbone]
    size = ["--pixels", f"[{pixels},{pixels}]", "--epochs", str(epochs), "--form#fit", "stretch"]
    change = [] if mirror else ["--augmentation#preset", "none"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def go(what: str, files: str, *options: str) -> float:
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [*bundle, what, "--config_file", files, *where, *size, *change, *options]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime

    seconds = go("training", str(CONFIG), "--embedding#images", "0", "--pictures#every", "999")
    last = torch.load(run / "models" / "latest.pt", weights_only=True)["parts"]["network"]
    torch.save(last, run / "models" / "model.pt")
    go("evaluation", str([str(CONFIG), str(CONFIG.with_name("evaluate.json"))]), "--replicates", "10")
    with (run / "eval" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = {Path(row["image"].partition("|")[0]).name: row for row in csv.DictReader(file)}
    content = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    names = [Path(entry["image"][0]).name for entry in content["training"] if entry["fold"] == 0]
    return np.array([[float(rows[n][f"probability_{c}"]) for c in content["classes"]] for n in names]), seconds


def figures(data: Path, probabilities: np.ndarray) -> str:
    content = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    label = np.array([entry["label"] for entry in content["training"] if entry["fold"] == 0])
    if label.ndim == 2:
        columns = zip(label.T, probabilities.T, strict=True)
        areas = [roc_auc_score(truth, scores) for truth, scores in columns if 0 < truth.mean() < 1]
        return f"mean AUC {np.mean(areas):.3f}"
    predicted = probabilities.argmax(1)
    accuracy = (predicted == label).mean()
    error = math.sqrt(accuracy * (1 - accuracy) / len(label))
    return f"accuracy {accuracy:.3f} ± {error:.3f}, balanced {balanced_accuracy_score(label, predicted):.3f}"


def main() -> None:
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    phantoms = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()
    names = sys.argv[3].split(",") if len(sys.argv) > 3 else ["digits", "cells"]
    epochs = int(sys.argv[4]) if len(sys.argv) > 4 else 10
    for name in names:
        pictures, data = out / name / "pictures", out / name / "data"
        shutil.rmtree(out / name, ignore_errors=True)
        arguments = {"digits": digits, "cells": cells, "levels": levels, "findings": findings}[name](pictures, phantoms)
        command = [sys.executable, "-m", "data_prep", "images", arguments[0], arguments[1], str(data), *arguments[2:]]
        subprocess.run([*command, "--quiet"], check=True)
        (backbone, pixels), mirror = NETWORKS[name], name in {"cells", "levels"}
        counts = json.loads((data / "datalist.json").read_text(encoding="utf-8"))["training"]
        print(f"{name}: {len(counts)} images, {backbone} at {pixels} pixels, {epochs} epochs", flush=True)
        probabilities, seconds = peer(data, backbone, pixels, epochs, mirror=mirror)
        print(f"  loop: {figures(data, probabilities)}; {seconds:.0f} s", flush=True)
        probabilities, seconds = ours(data, out / name / "run", backbone, pixels, epochs, mirror=mirror)
        print(f"  ours: {figures(data, probabilities)}; {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
