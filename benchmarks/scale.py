"""Grading many studies: what can be measured on one machine, and a simulation of 100,000 studies from its figures.

    python benchmarks/scale.py merge --folder /tmp/merge            # join the tables of 100,000 studies
    python benchmarks/scale.py overhead                             # a Dask scheduler with 10,000 empty tasks
    python benchmarks/scale.py workers STUDIES                      # one and two local workers on NIfTI or DICOM
    python benchmarks/scale.py workers STUDIES --earlier ../an-earlier-checkout
    python benchmarks/scale.py simulate graded/studies.csv --cores 1 --price 0.05 --disk 1000 --study-mb 60 --spot 0.05

``simulate`` draws each study's seconds from those of a studies.csv and gives it to the worker that is free first.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from monai_spine.prediction.merged_parts import merge_parts, write_part
from monai_spine.prediction.part import Part
from monai_spine.spine import TARGETS

FINDINGS_HEAD = (
    "study,finding,condition,level,side,grade,normal_mild,moderate,severe,flags,series_type,series,slice,"
    "sop_instance_uid,instance_number,frame"
)


def write_tables(folder: Path, studies: list[str]) -> None:
    """Tables of the size of real ones, sorted as `predict` sorts them."""
    folder.mkdir(parents=True)
    tables = {
        "studies.csv": (
            "study,status,reason,not_covered,flags,bad_volumes,filled,trained_on,seconds,peak_mb,machine",
            (),
        ),
        "findings.csv": (FINDINGS_HEAD, TARGETS),
        "predictions.csv": ("row_id,normal_mild,moderate,severe", sorted(TARGETS)),
        "points.csv": ("study,point,level,side,x,y,z,confidence,flag", TARGETS),
        "volumes.csv": ("study,volume,status", ("sagittal_t1", "sagittal_t2")),
    }
    for name, (head, items) in tables.items():
        with (folder / name).open("w", encoding="utf-8") as file:
            file.write(head + "\n")
            empty = "," * (head.count(",") - 3)
            for study in studies:
                if name == "studies.csv":
                    file.write(f"{study},graded,,0,,,,phantom,9.1,1400,node-1\n")
                elif name == "predictions.csv":
                    file.writelines(f"{study}_{item},0.612345,0.251111,0.136544\n" for item in items)
                else:
                    file.writelines(f"{study},{item},0.612345{empty},0.136544\n" for item in items)


def merge(options: argparse.Namespace) -> None:
    """Seconds and peak memory of joining the tables of parts."""
    names = sorted(str(1_000_000_000 + 7 * n) for n in range(options.studies))
    for number in range(1, options.parts + 1):
        part = Part(number, options.parts)
        own = [name for name in names if part.holds(name)]
        write_tables(part.folder(options.folder), own)
        write_part(part, options.folder, settings={}, inputs=names, studies=len(own), provenance="generated")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, processor = time.perf_counter(), time.process_time()
    merged = merge_parts(options.folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{merged.studies} studies × {len(TARGETS)} of {options.parts} parts: {time.perf_counter() - begin:.1f} s, "
        f"{time.process_time() - processor:.1f} s of processor; peak {peak / 1e6:.2f} GB ({before / 1e6:.2f} GB before)"
    )


def nothing(number: int) -> int:
    return number


def overhead(options: argparse.Namespace) -> None:
    """Milliseconds of the scheduler for an empty task."""
    from distributed import LocalCluster

    from data_prep.workers import run

    cluster_options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**cluster_options) as cluster:
        list(run(nothing, range(100), cluster=cluster.scheduler_address))
        begin = time.perf_counter()
        count = sum(1 for _ in run(nothing, range(options.tasks), cluster=cluster.scheduler_address))
        print(f"{count} empty tasks: {1000 * (time.perf_counter() - begin) / count:.2f} ms a task")


def workers(options: argparse.Namespace) -> None:
    """Seconds of `predict` with one and with two local workers, in turns, from process start to the tables."""
    checkouts = {"": Path(__file__).resolve().parents[1]} | ({"earlier, ": options.earlier} if options.earlier else {})
    runs = {(name, count): [] for name in checkouts for count in (1, 2)}
    for number in range(options.rounds):
        for (name, count), taken in runs.items():
            out = options.folder / f"{'earlier-' if name else ''}{count}"
            shutil.rmtree(out, ignore_errors=True)
            clock, processor, peaks = _run(options.inputs, out, count, checkouts[name])
            taken.append((clock, processor))
            outcome = (
                f"{clock:.1f} s, {processor:.1f} s of processor, {len(peaks)} studies, {min(peaks)} to {max(peaks)} MB"
            )
            print(f"round {number + 1}: {name}{count} workers: {outcome}", flush=True)
    least = {run: [min(values) for values in zip(*taken, strict=True)] for run, taken in runs.items()}
    for name in checkouts:
        (one, one_processor), (two, two_processor) = least[name, 1], least[name, 2]
        print(
            f"{name or 'now, '}two workers: {one:.1f} s / {two:.1f} s = {one / two:.2f} × as fast as one; "
            f"processor {one_processor:.1f} and {two_processor:.1f} s"
        )
    if options.earlier:
        faster = [least["earlier, ", count][0] / least["", count][0] for count in (1, 2)]
        print(f"as fast as earlier: {faster[0]:.2f} × with one worker, {faster[1]:.2f} × with two")


def _run(inputs: Path, out: Path, count: int, checkout: Path) -> tuple[float, float, list[int]]:
    """Seconds by the clock and of processor, and each study's peak of memory."""
    command = [sys.executable, "-c", "from monai_spine.commands.main import main; main()", "predict", "--quiet"]
    command += ["-i", str(inputs.resolve()), "-o", str(out.resolve()), "--workers", str(count), "--device", "cpu"]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(checkout.resolve())}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=False, cwd=checkout, env=environment)
    clock, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    with (out / "studies.csv").open(encoding="utf-8") as table:
        peaks = [int(row["peak_mb"]) for row in csv.DictReader(table)]
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peaks


def simulate(options: argparse.Namespace) -> None:
    """Hours, cost, and losses of many studies on several numbers of workers."""
    with options.table.open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["status"] == "graded" and float(row["seconds"]) > 0]
    measured, peaks = [float(row["seconds"]) for row in rows], [int(row["peak_mb"]) for row in rows]
    if not measured:
        raise SystemExit(f"{options.table}: expected graded studies with their seconds")
    generator = random.Random(options.seed)
    drawn = generator.choices(measured, k=options.studies)
    mean = statistics.fmean(measured)
    print(
        f"from {len(measured)} measured studies: {mean:.1f} s a study (longest {max(measured):.1f} s), "
        f"peak {max(peaks)} MB; {3600 / mean / options.cores:.0f} studies an hour and core"
    )
    limit = options.disk * mean / options.study_mb
    print(f"a disk of {options.disk:.0f} MB/s and {options.study_mb:.0f} MB a study feed {limit:.0f} workers")
    print(
        "| workers | hours | studies an hour | time lost to interruptions | cost of 1,000 studies |\n"
        "|---|---|---|---|---|"
    )
    for count in options.workers:
        hours, lost, busy = schedule(drawn, count, options, generator)
        cost = busy * options.cores * options.price / options.studies * 1000
        print(f"| {count} | {hours:.1f} | {options.studies / hours:.0f} | {lost:.2%} | {cost:.3f} |")


def schedule(
    seconds: list[float], count: int, options: argparse.Namespace, generator: random.Random
) -> tuple[float, float, float]:
    """Hours until the last study, the share of workers' time that is lost, and the hours of machines that are paid.

    An interruption comes to each worker at the stated rate an hour, at any time. What was done of the study at hand is
    lost, and so are the minutes until another machine begins, which are not paid. Beyond the disk's speed, all studies
    wait for it.
    """
    slow = max(1.0, count * options.study_mb / (options.disk * statistics.fmean(seconds)))
    free = [0.0] * count
    heapq.heapify(free)
    lost = worked = waited = 0.0
    end = 0.0
    for one in seconds:
        needed, begin = one * slow, heapq.heappop(free)
        while options.spot and (until := generator.expovariate(options.spot / 3600)) < needed:
            lost += until
            worked += until
            waited += 60 * options.restart_minutes
            begin += until + 60 * options.restart_minutes
        worked += needed
        end = max(end, begin + needed)
        heapq.heappush(free, begin + needed)
    return end / 3600, (lost + waited) / (worked + waited), worked / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("merge")
    one.add_argument("--folder", type=Path, required=True, help="a new folder, about 1 GB")
    one.add_argument("--studies", type=int, default=100_000)
    one.add_argument("--parts", type=int, default=16)
    one.set_defaults(run=merge)
    one = commands.add_parser("overhead")
    one.add_argument("--tasks", type=int, default=10_000)
    one.set_defaults(run=overhead)
    one = commands.add_parser("workers")
    one.add_argument("inputs", type=Path, help="about 24 studies, NIfTI or DICOM")
    one.add_argument("--folder", type=Path, default=Path("scale"))
    one.add_argument("--rounds", type=int, default=2)
    one.add_argument("--earlier", type=Path, help="a checkout of an earlier version, which takes turns with this one")
    one.set_defaults(run=workers)
    one = commands.add_parser("simulate")
    one.add_argument("table", type=Path, help="studies.csv of a run of predict")
    one.add_argument("--studies", type=int, default=100_000)
    one.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    one.add_argument("--cores", type=int, default=1, help="cores that a worker uses")
    one.add_argument("--price", type=float, default=0.05, help="price of a core for an hour")
    one.add_argument("--disk", type=float, default=1000.0, help="MB/s of the shared disk")
    one.add_argument("--study-mb", type=float, default=60.0, help="MB read for a study")
    one.add_argument("--spot", type=float, default=0.05, help="interruptions of a machine in an hour")
    one.add_argument("--restart-minutes", type=float, default=5.0, help="until another machine begins")
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=simulate)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
