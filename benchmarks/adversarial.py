"""The long adversarial run: kills, hostile inputs, identity, flipped bits, code in data, memory. Prints counts.

usage: python benchmarks/adversarial.py [--part NAME …] [--kills N] [--studies N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import nibabel as nib  # noqa: E402 - the tests are no package that is installed
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from data_prep import cli as data_prep_cli  # noqa: E402
from monai_spine.commands import main as spine_cli  # noqa: E402
from monai_spine.errors import SpineError  # noqa: E402
from monai_spine.output_lock import LOCK  # noqa: E402
from tests.adversarial import hostile  # noqa: E402
from tests.data_prep import test_no_identity_leaves as identity  # noqa: E402

PROGRAMS = {"data_prep": data_prep_cli.main, "monai-spine": spine_cli.main}


def started(log: Path, program: str, *words: object) -> int:
    """Run a command in a fork, whose modules are loaded already, with its messages in a file; the process."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        sys.argv = [program, *map(str, words)]
        PROGRAMS[program]()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(log: Path, program: str, *words: object) -> int:
    """Run a command to its end; its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(started(log, program, *words), 0)[1])


COST = ("seconds", "peak_mb", "machine")
"""Of each study, in ``outcome.json`` and ``studies.csv``; they differ between any two runs."""


def snapshot(out: Path) -> dict[str, bytes]:
    """All files of an output folder but the lock and ``log.txt``, without what a study cost."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name not in (LOCK, "log.txt"))
    return {str(path.relative_to(out)): _without_cost(path) for path in files}


def _without_cost(path: Path) -> bytes:
    if path.name == "outcome.json":
        content = json.loads(path.read_text(encoding="utf-8"))
        return json.dumps({name: value for name, value in content.items() if name not in (*COST, "checksum")}).encode()
    if path.name == "studies.csv":
        with path.open(newline="", encoding="utf-8") as file:
            return str([{**row, **dict.fromkeys(COST)} for row in csv.DictReader(file)]).encode()
    return path.read_bytes()


def phantoms(folder: Path, studies: int) -> Path:
    """Phantom studies as NIfTI, a folder for each; made once."""
    volumes = folder / f"nifti_{studies}"
    if not volumes.exists():
        run(folder / "log", "data_prep", "phantom", folder / "rsna", "--studies", studies, "--seed", 5, "--quiet")
        run(folder / "log", "data_prep", "rsna", folder / "rsna", folder / "prepared", "--folds", 2, "--quiet")
        (folder / "prepared").rename(volumes)
    return volumes


def kills(folder: Path, count: int) -> int:
    """Kill predict and locate at random moments, start them again until they end, and compare the outputs."""
    data, draw, equal, runs, killed, traces = phantoms(folder, 3), random.Random(0), 0, 0, 0, 0
    for command, words in (
        ("predict", ["-i", data / "datalist.json", "--quiet"]),
        ("locate", [data / "datalist.json", "--quiet"]),
    ):
        whole, broken, log = folder / f"{command}_whole", folder / f"{command}_killed", folder / f"{command}.log"
        begin = time.monotonic()
        run(log, "monai-spine", command, *words, "-o", whole)
        lasted, expected, done = time.monotonic() - begin, snapshot(whole), 0
        while done < count // 2:
            shutil.rmtree(broken, ignore_errors=True)
            while True:
                process = started(log, "monai-spine", command, *words, "-o", broken)
                time.sleep(draw.uniform(0.05, 1.0) * lasted)
                if done < count // 2 and os.waitpid(process, os.WNOHANG)[0] == 0:
                    os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                    done, killed = done + 1, killed + 1
                    if draw.random() < 0.6:
                        continue
                    process = started(log, "monai-spine", command, *words, "-o", broken)
                with contextlib.suppress(ChildProcessError):  # it had ended before it was to be killed
                    os.waitpid(process, 0)
                break
            traces += "Traceback" in log.read_text()
            same = snapshot(broken) == expected
            runs, equal = runs + 1, equal + same
            print(f"  {command}: {done} kills, output {'equal' if same else f'DIFFERENT from {whole}'}")
    print(f"kills survived: {killed}, outputs equal: {equal} of {runs}, tracebacks: {traces}")
    return runs - equal + traces


def quick_kills(folder: Path, count: int) -> int:
    """As `kills`, for predict with stand-ins for the networks: the same files are written, many times faster."""
    from monai_spine.output_lock import output_lock
    from monai_spine.prediction.run import predict
    from tests.adversarial.test_hostile_volumes import _uniform
    from tests.monai_spine.prediction import parts

    place, draw, killed, equal = folder / "quick", random.Random(0), 0, 0
    shutil.rmtree(place, ignore_errors=True)
    studies = [parts.write_study(place / "in" / name) for name in "abcd"]
    given, opened = parts.inputs(*studies), parts.models(parts.oracle(*studies), _uniform())

    def started_in(out: Path) -> int:
        child = os.fork()
        if child == 0:
            with output_lock(out):
                predict(given, out, opened, quiet=True)
            os._exit(0)
        return child

    begin = time.monotonic()
    os.waitpid(started_in(place / "whole"), 0)
    lasted, expected = time.monotonic() - begin, snapshot(place / "whole")
    for number in range(count):
        out = place / f"killed_{number}"
        for _ in range(draw.randint(1, 3)):  # killed once, twice or three times
            child = started_in(out)
            time.sleep(draw.uniform(0.0, 0.9) * lasted)
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                killed += 1
        ended = os.waitpid(started_in(out), 0)[1] == 0
        written = snapshot(out)
        equal += ended and written == expected
        if written != expected:
            names = sorted(name for name in {*written, *expected} if written.get(name) != expected.get(name))
            print(f"  differs in {names}")
        shutil.rmtree(out)
    print(f"kills survived: {killed}, outputs equal: {equal} of {count} (predict with stand-ins for the networks)")
    return count - equal


def _report(command: str, inputs: int, log: Path, code: int, rows: int) -> None:
    text = log.read_text(errors="replace")
    traces, unforeseen = text.count("Traceback"), text.count("unexpected ")
    print(f"  {command}: {inputs} hostile inputs, exit code {code}, {rows} rows, {traces} tracebacks, {unforeseen} odd")
    TOTAL["inputs"] += inputs
    TOTAL["tracebacks"] += traces


TOTAL = {"inputs": 0, "tracebacks": 0}


def _batch(folder: Path) -> Path:
    """A folder with a hostile study for each kind, and good studies in folders with hostile names."""
    data, batch = phantoms(folder, 3), folder / "hostile"
    entry = json.loads((data / "datalist.json").read_text())["training"][0]
    raw = gzip.decompress((data / entry["sagittal_t2"][0]).read_bytes())
    shutil.rmtree(batch, ignore_errors=True)
    for name in hostile.NIFTI:
        hostile.write_nifti(batch / name, name, raw)
    for name in hostile.FOLDERS:
        place = hostile.good_folder(batch, name)
        place.mkdir()
        (place / "sagittal_t2.nii.gz").write_bytes(gzip.compress(raw, 1))
    return batch


def hostile_inputs(folder: Path, _: int) -> int:
    """Hostile volumes, sidecars, names, pictures and tables, to each command that takes them."""
    batch = _batch(folder)
    studies, log, missing = len(hostile.NIFTI) + len(hostile.FOLDERS), folder / "hostile.log", 0
    for command, words in (("predict", ["-i", batch]), ("locate", [batch])):
        out = folder / f"hostile_{command}"
        shutil.rmtree(out, ignore_errors=True)
        code = run(log, "monai-spine", command, *words, "-o", out, "--quiet")
        table = out / ("studies.csv" if command == "predict" else "volumes.csv")
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = len({row["study"] for row in rows})
        _report(command, studies, log, code, found)
        missing += studies - found
        odd = [row for row in rows if "unexpected" in str(row)]
        for row in odd:
            print(f"    odd: {row}")
    print(f"hostile inputs: {TOTAL['inputs']}, tracebacks: {TOTAL['tracebacks']}, studies without a row: {missing}")
    return TOTAL["tracebacks"] + missing


def hostile_collections(folder: Path, _: int) -> int:
    """Hostile volumes and pictures, to check, study-table and images."""
    batch, log = _batch(folder), folder / "hostile.log"
    entries = [
        {"study_id": name, "patient_id": name, "fold": n % 2, "sagittal_t2": [f"{name}/{path.name}"]}
        for n, name in enumerate(hostile.NIFTI)
        for path in [next(p for p in (batch / name).iterdir() if ".nii" in p.name)]
    ]
    from tests.cohorts import write_datalist

    write_datalist(batch / "datalist.json", entries)
    code = run(log, "data_prep", "check", batch / "datalist.json", "-o", folder / "hostile_check", "--quiet")
    checked = json.loads((folder / "hostile_check/check.json").read_text())
    _report("check", len(entries), log, code, len(checked["findings"]))
    with (batch / "table.csv").open("w", newline="") as file:
        table_rows = [(one["study_id"], one["sagittal_t2"][0], "sagittal_t2") for one in entries]
        csv.writer(file).writerows([("study", "path", "series_type"), *table_rows])
    shutil.rmtree(folder / "hostile_table", ignore_errors=True)
    code = run(log, "data_prep", "study-table", batch / "table.csv", folder / "hostile_table", "--quiet")
    with (folder / "hostile_table/series.csv").open(newline="") as file:
        _report("study-table", len(entries), log, code, len(list(csv.DictReader(file))))
    pictures = folder / "hostile_pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    for label in ("yes", "no"):
        (pictures / label).mkdir(parents=True)
        for n in range(4):
            values = np.random.default_rng(n).integers(0, 255, (40, 40, 3), dtype=np.uint8)
            hostile.Image.fromarray(values + len(label)).save(pictures / label / f"{n}.png")
    for name, content in hostile.PICTURES.items():
        (pictures / "yes" / f"x_{name}").write_bytes(content())
    code = run(log, "data_prep", "images", "folders", pictures, folder / "hostile_images", "--folds", 2)
    report = json.loads((folder / "hostile_images/report.json").read_text())
    _report("images", len(hostile.PICTURES), log, code, len(report["findings"]))
    print(f"hostile inputs: {TOTAL['inputs']}, tracebacks: {TOTAL['tracebacks']}")
    return TOTAL["tracebacks"]


def identities(folder: Path, _: int) -> int:
    """Patients with 45 identifying elements in five character sets, through the commands; words are searched for.

    Pages, DICOM objects and TensorBoard are looked at in one process, by the tests, which see the texts in pictures.
    """
    place, found, logs = folder / "identity", 0, []
    shutil.rmtree(place, ignore_errors=True)
    for number, charset in enumerate(identity.CHARACTER_SETS):
        names = [f"{n}.dcm" for n in range(1, 10)]
        target = place / "dicom" / "train_images" / str(number) / "7"
        identity.factory.write(target, identity.patient(number, charset), names=names)
    with (place / "own.csv").open("w", newline="") as file:
        rows = [(n, place / "dicom/train_images" / str(n)) for n in range(len(identity.CHARACTER_SETS))]
        csv.writer(file).writerows([("study", "path"), *rows])
    dicom, outputs = place / "dicom", place / "out"
    shutil.copytree(dicom / "train_images", place / "rsna/test_images")
    with (place / "rsna/test_series_descriptions.csv").open("w", newline="") as file:
        rows = [(n, 7, "Sagittal T2/STIR") for n in range(len(identity.CHARACTER_SETS))]
        csv.writer(file).writerows([("study_id", "series_id", "series_description"), *rows])
    for number in range(4):
        for name in ("1.dcm", "2.dcm", "3.dcm"):
            target = place / "images" / ("yes", "no")[number % 2] / f"{number}-{name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(dicom / "train_images" / str(number) / "7" / name, target)
    steps: list[tuple[str, ...]] = [
        ("data_prep", "scan", str(dicom)),
        ("data_prep", "convert", str(dicom), str(outputs / "convert")),
        ("data_prep", "study-table", str(place / "own.csv"), str(outputs / "table")),
        ("data_prep", "rsna", str(place / "rsna"), str(outputs / "rsna")),
        ("data_prep", "images", "folders", str(place / "images"), str(outputs / "images"), "--folds", "2"),
        ("data_prep", "check", str(outputs / "table/datalist.json"), "-o", str(outputs / "check")),
        ("monai-spine", "locate", str(outputs / "convert"), "-o", str(outputs / "locate")),
        ("monai-spine", "predict", "-i", str(dicom), "-o", str(outputs / "predict"), "--report", "--pdf"),
        ("monai-spine", "report", str(outputs / "predict"), "--force"),
    ]
    for number, step in enumerate(steps):
        logs.append(place / f"{number}.log")
        run(logs[-1], *step)
    texts = [
        identity.everything_written(outputs, (".png", ".jpg", ".pdf")),
        *(log.read_text(errors="replace") for log in logs),
    ]
    for text in texts:
        found += len(identity.leaks(text))
    child = os.fork()
    if child == 0:
        os._exit(
            pytest.main(["-q", "-p", "no:cacheprovider", str(ROOT / "tests/adversarial/test_identity_in_reports.py")])
        )
    found += os.waitpid(child, 0)[1] != 0
    elements, charsets = len(identity.identity.TAGS), len(identity.CHARACTER_SETS)
    print(
        f"identity leaks: {found} ({elements} elements, {charsets} character sets, {len(steps)} commands, and pages, "
        "PDF, DICOM objects and TensorBoard of graded studies)"
    )
    return found


def flips(folder: Path, _: int) -> int:
    """Flip single bits in everything that has a checksum, and read it."""
    import logging

    from monai_spine.crops.augmentation import Augmentation
    from monai_spine.crops.stack import open_stack
    from monai_spine.data.volume import read_volume
    from monai_spine.images.data.input_format import ImageForm
    from monai_spine.images.data.store import ImageStore
    from monai_spine.transforms.level_crops import LevelCropsd
    from monai_spine.weights import load_safely
    from tests.adversarial.test_damage import believed
    from tests.monai_spine.images.pictures import write_pictures
    from tests.monai_spine.transforms.test_level_crops import VIEWS, write_study

    logging.disable(logging.WARNING)  # a line for each flip
    place, total, bad = folder / "flips", 0, 0
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()

    def part(name: str, path: Path, same: Callable[[], bool], count: int) -> None:
        nonlocal total, bad
        wrong = believed(path, same, count)
        total, bad = total + count, bad + len(wrong)
        print(f"  {name}: {count} flipped bits, {len(wrong)} believed")

    voxels = np.random.default_rng(0).integers(0, 900, (30, 34, 9)).astype(np.int16)
    volume = place / "a.nii.gz"
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1, 4, 1])), volume)
    whole, stack = read_volume(volume), open_stack(volume)
    part("volumes, read_volume", volume, lambda: np.array_equal(read_volume(volume).voxels, whole.voxels), 400)
    part("volumes, open_stack", volume, lambda: np.array_equal(open_stack(volume).voxels, stack.voxels), 400)
    for bundle in sorted((ROOT / "bundles").glob("*/models/model.pt")):
        path = place / f"{bundle.parts[-3]}.pt"
        shutil.copy(bundle, path)
        good = load_safely(path)

        def same(path: Path = path, good: dict = good) -> bool:
            content = load_safely(path)
            return all(torch.equal(content[name], good[name]) for name in good)

        part(f"weights of {bundle.parts[-3]}", path, same, 60)
    study = write_study(place / "study")
    cut = LevelCropsd(views=VIEWS, augmentation=Augmentation(), cache_dir=place / "cache")
    crops = cut.set_random_state(5)(study)
    (cached,) = (path for path in (place / "cache").rglob("*") if path.is_file())
    part(
        "crop cache",
        cached,
        lambda: all(torch.equal(cut.set_random_state(5)(study)[view.name], crops[view.name]) for view in VIEWS),
        60,
    )
    records, form = write_pictures(place / "pictures", 9), ImageForm(channels=1, pixels=(12, 16))
    images = ImageStore(records, form, folder=place / "store").read(np.arange(9))
    (stored,) = (place / "store").iterdir()
    part(
        "image store",
        stored,
        lambda: np.array_equal(ImageStore(records, form, folder=place / "store").read(np.arange(9)), images),
        200,
    )
    logging.disable(logging.NOTSET)
    print(f"bit flips: {total}, believed: {bad}")
    return bad


def bombs(folder: Path, _: int) -> int:
    """Code in every kind of file that is read; what it would make is looked for."""
    import yaml

    from monai_spine.experiments.tuning.space import read_space
    from monai_spine.weights import load_safely
    from tests.adversarial.test_code_in_data import SHOT, Bomb

    place = folder / "bombs"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    hit, tried = place / "hit", 0
    code = SHOT.format(str(hit))

    def attempt(function: Callable[[], object]) -> None:
        nonlocal tried
        tried += 1
        with contextlib.suppress(SpineError):
            function()

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = place / f"{protocol}.pt"
        path.write_bytes(pickle.dumps({"weight": Bomb(code)}, protocol))
        for verify in (True, False):
            attempt(lambda path=path, verify=verify: load_safely(path, verify=verify))
    for zipped in (True, False):
        path = place / f"zip_{zipped}.pt"
        torch.save({"weight": Bomb(code)}, path, _use_new_zipfile_serialization=zipped)
        for verify in (True, False):
            attempt(lambda path=path, verify=verify: load_safely(path, verify=verify))
    (place / "train.json").write_text(json.dumps({"learning_rate": 1, "lr_scheduler": {}}))
    spaces = [
        f"learning_rate: {{choices: ['${code}', 1]}}".replace("'$__", '"$__').replace("', 1", '", 1'),
        f"learning_rate: !!python/object/apply:builtins.exec [{json.dumps(code)}]",
        f"lr_scheduler: {{choices: {{a: {{_target_: builtins.exec, source: {json.dumps(code)}}}, b: {{}}}}}}",
        "lr_scheduler#_target_: {choices: [os.system, builtins.exec]}",
    ]
    for n, text in enumerate(spaces):
        (place / f"{n}.yaml").write_text(text)
        attempt(lambda n=n: read_space(place / f"{n}.yaml", [place / "train.json"]))
    np.save(place / "a.npy", np.array([Bomb(code)], dtype=object), allow_pickle=True)
    from monai_spine.images.data.store import _opened

    attempt(lambda: _opened(place / "a.npy", (1,), 0))
    assert yaml is not None
    for name in ("../escape", "/tmp/escape", "..", "a/../../b", "\0", "~"):
        from monai_spine.files import safe_name

        tried += 1
        assert (place / safe_name(name)).resolve().is_relative_to(place), name
    print(f"bombs: {tried}, executed: {int(hit.exists())}")
    return int(hit.exists())


def memory(folder: Path, studies: int) -> int:
    """Grade many studies in one process; the peak after a quarter of them, and after all."""
    from monai_spine.grading.grader import Grader
    from monai_spine.prediction.inputs import Inputs
    from monai_spine.prediction.pending_study import PendingStudy
    from monai_spine.prediction.run import predict
    from tests.monai_spine.prediction import parts

    place = folder / "memory"
    shutil.rmtree(place, ignore_errors=True)
    study = parts.write_study(place / "study")
    grader, record = Grader.from_bundle(parts.write_bundle(place / "bundle")), parts.record_of(study)
    opened, peaks = parts.models(parts.oracle(study), grader), []

    def graded(first: int, last: int) -> None:
        some = tuple(PendingStudy({**record, "study_id": f"s{n:04d}"}) for n in range(first, last))
        predict(Inputs(some), place / f"out_{first}", opened, quiet=True)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    graded(0, studies // 4)
    graded(studies // 4, studies)
    print(f"memory: peak {peaks[0]:.0f} MB after {studies // 4} studies, {peaks[1]:.0f} MB after {studies}")
    return int(peaks[1] > 1.1 * peaks[0])


PARTS: dict[str, Callable[[Path, int], int]] = {
    "kills": kills,
    "quick_kills": quick_kills,
    "hostile": hostile_inputs,
    "collections": hostile_collections,
    "identity": identities,
    "flips": flips,
    "bombs": bombs,
    "memory": memory,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, each in a fork of its own, so that none inherits the memory of another.

    Each part returns how often something happened that must not happen; the exit code is 1 if anything did.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=list(PARTS))
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="adversarial-"))
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # before the forks: a fork does not inherit other threads
    failed = []
    for name in options.part or PARTS:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = int(bool(PARTS[name](folder, options.kills if "kills" in name else options.studies)))
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        failed += [name] if os.waitpid(child, 0)[1] else []
    if failed:
        raise SystemExit(f"these parts found a fault, or did not end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
