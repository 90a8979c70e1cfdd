"""How fast the page of ``monai-spine review`` answers: slices of full-size volumes, and the list of many studies.

    python benchmarks/review.py
    python benchmarks/review.py --studies 2000 --size small

One phantom study has images, packed as ``predict`` leaves them; the others are copies of its findings. The client is in
the same process and asks as a browser does, over a connection that stays open. Elapsed time includes what else the
machine does; processor time is that of server and client together.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="studies in the list")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--rounds", type=int, default=3, help="how often all slices are asked for")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="review-") as folder:
        _measure(Path(folder), options)


def _measure(out: Path, options: argparse.Namespace) -> None:
    from monai_spine.review.run import review_server

    _write_output(out, options.studies, options.size)
    begin = time.perf_counter()
    server = review_server(out)
    start = time.perf_counter() - begin
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = _Client(server)
    print(f"{options.studies} studies, volumes of size {options.size}; load of the machine {os.getloadavg()[0]:.1f}\n")
    print(f"start, all findings read: {start:.2f} s\n")
    print("| answer | number | median ms | 95th percentile | worst | processor ms each |\n|---|--:|--:|--:|--:|--:|")
    _row("list of studies", [client.timed("/api/studies") for _ in range(10)])
    _row("a study", [client.timed("/api/studies/0") for _ in range(10)])
    volumes = json.loads(client.get("/api/studies/0"))["volumes"]
    first = [client.timed(f"/slices/0/{n}/0.png") for n in range(len(volumes))]
    _row("first slice of a volume: it is unpacked", first)
    slices = [f"/slices/0/{n}/{k}.png" for n, one in enumerate(volumes) for k in range(one["slices"])]
    _row("every other slice", [client.timed(path) for _ in range(options.rounds) for path in slices])
    sizes = [len(client.get(path)) for path in slices]
    shapes = ", ".join(f"{one['title']} {one['columns']} × {one['rows']} × {one['slices']}" for one in volumes)
    print(f"\n{shapes}; {statistics.mean(sizes) / 1024:.0f} kB a slice")
    server.shutdown()


class _Client:
    def __init__(self, server: Any) -> None:
        self.headers = {"Cookie": server.access.cookie.split(";")[0], "Sec-Fetch-Site": "same-origin"}
        self.connection = http.client.HTTPConnection("127.0.0.1", server.access.port)

    def get(self, path: str) -> bytes:
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
        return content

    def timed(self, path: str) -> tuple[float, float]:
        """Elapsed and processor ms."""
        begin, used = time.perf_counter(), time.process_time()
        self.get(path)
        return 1000 * (time.perf_counter() - begin), 1000 * (time.process_time() - used)


def _row(name: str, times: list[tuple[float, float]]) -> None:
    elapsed = sorted(one for one, _ in times)
    late = elapsed[min(len(elapsed) - 1, int(0.95 * len(elapsed)))]
    processor = statistics.mean(one for _, one in times)
    figures = f"{statistics.median(elapsed):.1f} | {late:.1f} | {elapsed[-1]:.1f} | {processor:.1f}"
    print(f"| {name} | {len(times)} | {figures} |")


def _write_output(out: Path, studies: int, size: str) -> None:
    """One study with images, and copies of its findings under other names."""
    from monai_spine.grading.findings import study_findings
    from monai_spine.spine import FINDINGS, SeriesType

    names = {}
    for series_type, (voxels, affine) in _volumes(size):
        names[f"{series_type.value}.nii.gz"] = series_type.value
        file = out / "volumes" / "0000" / f"{series_type.value}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, affine), file)
    record = {"study_id": "0000", "points": {}, **{series_type.value: () for series_type in SeriesType}}
    rows = np.random.default_rng(0).dirichlet([5, 2, 1], len(FINDINGS))
    content = study_findings(record, rows, rows, about={"models": [], "folder": "volumes/0000", "volumes": names})
    for one in content["findings"]:
        one["point"], one["flags"] = [0.0, 0.0, 0.0], []
    for n in range(studies):
        folder = out / f"{n:04d}"
        folder.mkdir()
        (folder / "findings.json").write_text(json.dumps({**content, "study_id": folder.name}, indent=2))


def _volumes(size: str) -> Iterator[tuple[Any, tuple[np.ndarray, np.ndarray]]]:
    from data_prep.choices import PhantomSize
    from data_prep.phantom.acquire import acquire
    from data_prep.phantom.disease import draw_disease
    from data_prep.phantom.person import draw_person
    from data_prep.phantom.plan import plan_axial, plan_sagittal
    from monai_spine.spine import Level, SeriesType

    rng = np.random.default_rng(32)
    person = draw_person(draw_disease(rng), rng, np.zeros(3))
    for series_type in SeriesType:
        if series_type is SeriesType.AXIAL_T2:
            scan = plan_axial(person, (Level.L1_L2, Level.L5_S1), PhantomSize(size), 1.5, rng)
        else:
            scan = plan_sagittal(person, series_type, PhantomSize(size), 1.5, rng)
        yield series_type, (acquire(person, scan, rng).transpose(2, 1, 0), scan.affine)


if __name__ == "__main__":
    main()
