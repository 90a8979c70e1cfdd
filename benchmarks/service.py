"""``monai-spine serve`` against a real Orthanc, killed on the way; its throughput beside ``predict``; its memory.

    python benchmarks/service.py archive --studies 20 --kills 5      # needs Orthanc and dcmtk (Debian: orthanc, dcmtk)
    python benchmarks/service.py throughput --studies 4
    python benchmarks/service.py memory --studies 200

A few phantoms are made and copied under new UIDs and patients. ``archive`` sends the studies with storescu in four
associations at once, kills the service with SIGKILL while it receives, grades and sends, starts it
again, stops the archive for a while, and counts what stands in Orthanc at the end. One more study has no sagittal
series: it must come back as a note. ``memory`` uses a stand-in for the grader, so that it measures the service alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import generate_uid

ROOT = Path(__file__).parents[1]
COMPREHENSIVE_3D_SR, ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.22"
STAGES = ("receiving", "complete", "graded")
"""Of a study; the service is killed in each of them."""
SERVE = "from monai_spine.commands.main import main; main()"
STAND_IN = "import sys; sys.path.insert(0, 'benchmarks'); import service; service.serve_stand_in()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("archive", "throughput", "memory"))
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--pause", type=float, default=20.0, help="most seconds to wait for the stage of the next kill")
    parser.add_argument("--quiet", type=float, default=5.0, help="seconds after which a study is complete")
    parser.add_argument("--stand-in", action="store_true", help="of archive: a stand-in for the grader")
    parser.add_argument("--phantoms", type=int, default=2, help="different ones among the studies")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--cohort", type=Path, help="phantoms that are there already (a folder of data_prep phantom)")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="service-") as folder:
        {"archive": archive, "throughput": throughput, "memory": memory}[options.what](Path(folder), options)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Orthanc:
    """An Orthanc of our own on loopback."""

    def __init__(self, folder: Path) -> None:
        self.dicom, self.http = free_port(), free_port()
        folder.mkdir(parents=True)
        self._folder = folder
        settings = {
            "Name": "TEST",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "DicomAet": "ARCHIVE",
            "DicomPort": self.dicom,
            "HttpPort": self.http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "OverwriteInstances": False,
            "StableAge": 1,
            "Plugins": ["/usr/share/orthanc/plugins"],
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Orthanc:
        log = (self._folder / "log.txt").open("ab")
        command = ["Orthanc", str(self._folder / "orthanc.json")]
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: self.get("system"), 120)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
        self._process = None

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", timeout=10) as answer:
            return json.load(answer)

    def objects(self) -> list[tuple[str, str]]:
        """SOP class and study of every instance."""
        found = []
        for instance in self.get("instances?expand"):
            study = self.get(f"instances/{instance['ID']}/study")["MainDicomTags"]["StudyInstanceUID"]
            sop_class = self.get(f"instances/{instance['ID']}/header")["0002,0002"]["Value"].strip("\0 ")
            found.append((sop_class, study))
        return found


class Process:
    """The service as a process of its own, as a user starts it."""

    def __init__(self, config: Path, http: int, code: str = SERVE) -> None:
        self._config, self._http, self._code = config, http, code
        self.log = config.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", self._code, "serve", "--config", str(self._config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
        wait_for(self.health, 600, lambda: self._process is None or self._process.poll() is not None)
        return self

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/health", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def idle(self) -> bool:
        about = self.health()
        return not any(about[state] for state in ("receiving", "complete", "graded"))

    def memory(self) -> float:
        """Resident megabytes."""
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def seconds(self) -> float:
        """Processor seconds of the process and of the children that it waited for."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)  # nothing happens to one that has ended
            self._process.wait()

    def end(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(120)


def wait_for(condition: Any, seconds: float, hopeless: Any = lambda: False) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > end or hopeless():
            raise TimeoutError("the program did not get ready, or ended")
        time.sleep(0.2)


def write_config(path: Path, port: int, http: int, orthanc_port: int, quiet: float = 2.0) -> Path:
    path.write_text(
        f"""folder: {path.parent / "spool"}
receive:
  dicom:
    port: {port}
    peers: [{{ae_title: PACS, addresses: [127.0.0.1]}}]
send:
  dicom: {{ae_title: ARCHIVE, address: 127.0.0.1, port: {orthanc_port}}}
study: {{quiet_seconds: {quiet}, starts: 20}}
retry: {{first_seconds: 0.2, longest_seconds: 2}}
limits: {{free_gb: 0.5, connections_per_minute: 10000}}
http: {{port: {http}}}
"""
    )
    return path


def phantoms(folder: Path, options: argparse.Namespace) -> list[Path]:
    """Folders of DICOM studies."""
    if options.cohort is None:
        from data_prep.choices import PhantomSize
        from data_prep.phantom.cohort import generate

        generate(folder, options.phantoms, options.seed, size=PhantomSize(options.size), workers=1, quiet=True)
    studies = sorted(one for one in ((options.cohort or folder) / "train_images").iterdir() if one.is_dir())
    return studies[: options.phantoms]


def copies(sources: Sequence[Path], folder: Path, count: int) -> list[Path]:
    """Studies under new UIDs and patients; the last one more has no sagittal series."""
    made = []
    for n in range(count + 1):
        uids: dict[str, str] = {}
        for file in sorted(sources[n % len(sources)].rglob("*.dcm")):
            header = pydicom.dcmread(file)
            if n == count and "sag" in str(header.get("SeriesDescription", "")).lower():
                continue
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
                if header.get(keyword):
                    setattr(header, keyword, uids.setdefault(header.get(keyword), generate_uid(None)))
            header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
            header.PatientID = header.StudyID = f"P{n}"
            header.PatientName = f"Mustermann^Erika {n}"
            target = folder / str(n) / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            header.save_as(target)
        made.append(folder / str(n))
    return made


def dcmtk(name: str) -> str:
    """The path of a command of dcmtk. pynetdicom installs scripts of the same names, which take other options."""
    places = [Path(folder) / name for folder in os.environ["PATH"].split(os.pathsep)]
    own = [str(path) for path in places if path.is_file() and path.read_bytes()[:2] != b"#!"]
    if not own:
        raise SystemExit(f"{name} is not installed; Debian has it in the package dcmtk")
    return own[0]


def send(study: Path, port: int) -> int:
    """Send a study as a scanner does: again and again, until all images are taken; how often it was sent."""
    command = [dcmtk("storescu"), "-aet", "PACS", "-aec", "MONAI_SPINE", "127.0.0.1", str(port), "--scan-directories"]
    attempts = 1
    while subprocess.run([*command, "--recurse", str(study)], capture_output=True, check=False).returncode:
        attempts += 1
        time.sleep(0.5)
    return attempts


@contextmanager
def sending(studies: Sequence[Path], port: int, at_once: int = 4) -> Iterator[list[int]]:
    """Send studies in several associations at once, beside the block; the attempts of each."""
    attempts: list[int] = []
    waiting = list(reversed(studies))

    def work() -> None:
        while waiting:
            attempts.append(send(waiting.pop(), port))

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for one in threads:
        one.start()
    try:
        yield attempts
    finally:
        for one in threads:
            one.join()


def run_archive(
    folder: Path,
    studies: Sequence[Path],
    kills: int,
    *,
    rng: random.Random,
    code: str = SERVE,
    pause: float = 20.0,
    quiet: float = 5.0,
) -> dict[str, Any]:
    """Send, kill while studies are received, graded and sent, and count what stands in Orthanc at the end."""
    orthanc = Orthanc(folder / "orthanc").start()
    port, http = free_port(), free_port()
    service = Process(write_config(folder / "serve.yaml", port, http, orthanc.dicom, quiet), http, code)
    states: list[str] = []
    begin = time.monotonic()
    try:
        service.start()
        with sending(studies, port) as attempts:
            for n in range(kills):
                stage = STAGES[n % len(STAGES)]
                if stage == "graded":
                    orthanc.stop()  # until the service has started again, and a while
                with suppress(TimeoutError):
                    wait_for(lambda stage=stage: service.health()[stage], pause)
                time.sleep(rng.uniform(0, 0.5))
                about = service.health()
                states.append("/".join(str(about[state]) for state in STAGES))
                service.kill()
                service.start()
                if stage == "graded":
                    time.sleep(3)
                    orthanc.start()
        wait_for(service.idle, 3600)
        seconds = time.monotonic() - begin
        code_at_end = service.end()
        objects = orthanc.objects()
    finally:
        service.kill()
        orthanc.stop()
    reports = Counter(study for sop_class, study in objects if sop_class == COMPREHENSIVE_3D_SR)
    notes = Counter(study for sop_class, study in objects if sop_class == ENHANCED_SR)
    log = service.log.read_text()
    return {
        "studies": len(studies),
        "kills": kills,
        "receiving/complete/graded at each kill": ", ".join(states),
        "sent by storescu, attempts": sum(attempts),
        "objects in Orthanc": len(objects),
        "studies in Orthanc": len({study for _, study in objects}),
        "reports (Comprehensive 3D SR)": sum(reports.values()),
        "studies with a report": len(reports),
        "notes of refused studies (Enhanced SR)": sum(notes.values()),
        "studies with a note": len(notes),
        "exit code at SIGTERM": code_at_end,
        "patients' names in the log": log.count("Mustermann"),
        "seconds": round(seconds),
    }


def archive(folder: Path, options: argparse.Namespace) -> None:
    studies = copies(phantoms(folder / "phantoms", options), folder / "studies", options.studies)
    code, rng = STAND_IN if options.stand_in else SERVE, random.Random(options.seed)
    found = run_archive(folder, studies, options.kills, rng=rng, code=code, pause=options.pause, quiet=options.quiet)
    table(found)
    # The stand-in makes two objects of each study, that without sagittal series included.
    reports, notes = (0, options.studies + 1) if options.stand_in else (options.studies, 1)
    expected = {
        "studies with a report": reports,
        "reports (Comprehensive 3D SR)": reports,
        "studies with a note": notes,
    }
    expected |= {"notes of refused studies (Enhanced SR)": 2 * notes if options.stand_in else notes}
    expected |= {"patients' names in the log": 0}
    wrong = {name: found[name] for name, value in expected.items() if found[name] != value}
    if wrong:
        raise SystemExit(f"expected {expected}, but found {wrong}")


def throughput(folder: Path, options: argparse.Namespace) -> None:
    """Processor seconds of ``predict --dicom-out`` and of the service on the same studies, start-up included."""
    studies = copies(phantoms(folder / "phantoms", options), folder / "studies", options.studies)
    shutil.rmtree(studies.pop())
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", SERVE, "predict", "-i", str(folder / "studies"), "-o", str(folder / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--dicom-out", "--quiet"], check=True, capture_output=True, env=environment, cwd=ROOT)
    after, elapsed = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begin
    predicted = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    orthanc = Orthanc(folder / "orthanc").start()
    port, http = free_port(), free_port()
    config = write_config(folder / "serve.yaml", port, http, orthanc.dicom, quiet=1.0)
    begin = time.monotonic()
    service = Process(config, http).start()
    with sending(studies, port):
        pass
    wait_for(service.idle, 3600)
    served, waited = service.seconds(), time.monotonic() - begin
    service.end()
    orthanc.stop()
    table(
        {
            "studies": len(studies),
            "predict --dicom-out, processor s": round(predicted, 1),
            "serve, processor s": round(served, 1),
            "throughput by processor time, serve / predict": round(predicted / served, 3),
            "predict --dicom-out, elapsed s": round(elapsed, 1),
            "serve, elapsed s, with 1 s of quiet and the archive on the same machine": round(waited, 1),
        }
    )


def memory(folder: Path, options: argparse.Namespace) -> None:
    """Resident memory of the service while studies go through it, with a stand-in for the grader."""
    sources = phantoms(folder / "phantoms", options)
    orthanc = Orthanc(folder / "orthanc").start()
    port, http = free_port(), free_port()
    config = write_config(folder / "serve.yaml", port, http, orthanc.dicom, quiet=0.5)
    service = Process(config, http, STAND_IN).start()
    at: dict[int, float] = {0: service.memory()}
    batch = max(1, options.studies // 10)
    for done in range(batch, options.studies + 1, batch):
        studies = copies(sources, folder / "studies", batch)
        with sending(studies[:-1], port):
            pass
        wait_for(service.idle, 600)
        shutil.rmtree(folder / "studies")
        at[done] = service.memory()
    service.end()
    orthanc.stop()
    table({f"resident MB after {done} studies": round(value, 1) for done, value in at.items()})


def serve_stand_in() -> None:
    """A service whose grader makes two small objects of each study; the arguments are those of the command."""
    from monai_spine.service.grading import GRADED, GradedFiles
    from monai_spine.service.run import run_service

    def grade(received: Path, out: Path) -> GradedFiles:
        begin, images = time.perf_counter(), sorted(received.glob("*.dcm"))
        header = pydicom.dcmread(images[0], stop_before_pixels=True)
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = ENHANCED_SR
        out.mkdir(parents=True, exist_ok=True)
        for n in range(2):
            uid = generate_uid(entropy_srcs=[header.StudyInstanceUID, *(one.name for one in images), str(n)])
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid
            header.save_as(out / f"{n}.dcm")
            time.sleep(0.2)
        return GradedFiles(GRADED, "", (out / "0.dcm", out / "1.dcm"), time.perf_counter() - begin)

    run_service(Path(sys.argv[sys.argv.index("--config") + 1]), grade)


def table(rows: dict[str, Any]) -> None:
    print("| | |\n|---|--:|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
