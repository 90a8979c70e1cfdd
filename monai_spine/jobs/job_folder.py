"""Writes a job's folder: the bundle, ``job.json``, the platform's specification, and the commands that submit it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_spine.bundle.run import parse_settings, training_configs
from monai_spine.bundle.shipped import LEFT_BY_RUNS, shipped_bundles
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError, near_names
from monai_spine.files import write_text
from monai_spine.jobs.accelerators import parse_accelerator
from monai_spine.jobs.description import Job, parse_duration, read_job, write_job
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms import PLATFORMS

OWN = ("bundle_root", "dataset_dir", "datalist", "ckpt_dir", "cache_dir", "output_dir", "resume", "logging_file")
"""Settings that the entry point sets itself."""
SUBMIT = "submit.sh"
_SEVERAL = "multi_gpu_train"


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asks for; texts are as on the command line. See `Job` for those of the same name."""

    bundle: str
    output: str
    data: str | None = None
    name: str | None = None
    presets: Sequence[Path] = ()
    settings: Sequence[str] = ()
    nodes: int = 1
    accelerator: str | None = None
    machine: str | None = None
    spot: bool = False
    timeout: str = "24h"
    max_restarts: int = 3
    disk_gb: int = 200
    image: str | None = None
    package: Path | None = None
    base_image: str | None = None
    trained_on: str | None = None
    own: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write_job_folder(platform: str, request: Request, out: Path, *, check: bool = False, force: bool = False) -> Job:
    """Write a job's folder, whole or not at all.

    Parameters
    ----------
    check
        Whether the specification is compared with the vendor's own types before the folder is kept.
    force
        Whether an earlier job in the folder is replaced.

    Raises
    ------
    InvalidOptionError
        If the platform cannot run such a job, or the folder exists.
    MissingInputError
        If there is no such bundle, preset or package.
    InvalidTableError
        If the vendor's types refuse the specification.
    """
    if out.exists() and not (force and (out / "job.json").is_file()):
        raise InvalidOptionError(f"{out} exists; choose another folder with -o, or replace an earlier job with --force")
    bundle = _bundle(request.bundle)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / out.name
        shutil.copytree(bundle, folder / bundle.name, ignore=LEFT_BY_RUNS)
        job = _job(platform, request, bundle, folder)
        chosen = PLATFORMS[platform]
        write_text(folder / chosen.file, chosen.specification(job))
        write_job(job, folder)
        write_text(folder / SUBMIT, f"#!/bin/sh\n# Run in this folder.\nset -eu\n{chosen.submission(job)}")
        if check:
            try:
                check_job_folder(folder)
            except SpineError as error:
                error.args = (str(error).replace(str(folder), str(out)),)  # the folder of now will be gone
                raise
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return job


def check_job_folder(folder: Path) -> Path:
    """Compare the specification in a job's folder with the vendor's own types; its path.

    Errors are those of `read_job` and of the platform's `check`.
    """
    platform = PLATFORMS[read_job(folder).platform]
    path = folder / platform.file
    if not path.is_file():
        raise MissingInputError(f"expected the specification {path}; write the job again with monai-spine job")
    platform.check(path)
    return path


def _bundle(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        return path.resolve()
    shipped = {one.name: one.path for one in shipped_bundles()}
    if name not in shipped:
        raise MissingInputError(f"expected a bundle's folder or name, but found {name!r}{near_names(name, shipped)}")
    return shipped[name]


def _job(platform: str, request: Request, bundle: Path, folder: Path) -> Job:
    accelerator, number = parse_accelerator(request.accelerator) if request.accelerator else (None, 0)
    configs = _configs(bundle, request.presets, folder, several=request.nodes * max(1, number) > 1)
    entries = {id_ for config in configs for id_ in json.loads((folder / config).read_text(encoding="utf-8"))}
    if request.data is None and "datalist" in entries:
        raise InvalidOptionError(f"{bundle.name} trains on a datalist; name its folder with --data")
    settings = dict(parse_settings(request.settings, OWN))
    for name in settings:
        if name.lstrip("+").split("#")[0].split("::")[0] not in entries:
            raise InvalidOptionError(f"{bundle.name} has no setting {name!r}{near_names(name, sorted(entries))}")
    image, package = _image(platform, request, folder)
    job = Job(
        platform=platform,
        name=request.name or bundle.name.lower().replace("_", "-"),
        bundle=bundle.name,
        configs=tuple(configs),
        data=request.data,
        output=request.output,
        settings=settings,
        nodes=request.nodes,
        accelerator=accelerator,
        accelerators=number,
        machine=request.machine,
        spot=request.spot,
        timeout=parse_duration(request.timeout),
        max_restarts=request.max_restarts,
        disk_gb=request.disk_gb,
        image=image,
        package=package,
        trained_on=request.trained_on,
        own=dict(request.own),
    )
    if missing := [name for name in OFFERS[platform].required if not job.own.get(name)]:
        raise InvalidOptionError(f"{OFFERS[platform].title} needs {', '.join(f'--{name}' for name in missing)}")
    return job


def _configs(bundle: Path, presets: Sequence[Path], folder: Path, *, several: bool) -> list[str]:
    """The configuration files, relative to the job's folder; those from elsewhere are copied into it."""
    names = []
    for path in training_configs(bundle, presets):
        if path.resolve().is_relative_to(bundle):
            names.append(f"{bundle.name}/{path.resolve().relative_to(bundle).as_posix()}")
        else:
            names.append(f"configs/{path.name}")
            (folder / "configs").mkdir(exist_ok=True)
            shutil.copyfile(path, folder / names[-1])
    if several:
        names.append(f"{bundle.name}/configs/{_SEVERAL}.json")
        if not (folder / names[-1]).is_file():
            raise MissingInputError(f"{bundle} has no configs/{_SEVERAL}.json, so that it trains in one process only")
    return names


def _image(platform: str, request: Request, folder: Path) -> tuple[str | None, str | None]:
    """The container image and the name of the package, which is copied into the job's folder."""
    if request.package is None:
        if request.base_image:
            raise InvalidOptionError("--base-image is the image that installs --package; with neither, give --image")
        if request.image is None and platform != "slurm":
            raise InvalidOptionError("give --image, a container with monai_spine, or --package with --base-image")
        return request.image, None
    if request.image:
        raise InvalidOptionError("expected either --image or --package, but found both; a job runs one of them")
    if request.base_image is None and platform != "slurm":
        raise InvalidOptionError("--package needs --base-image, an image with Python 3.10 or newer that installs it")
    if not request.package.is_file() or not request.package.name.endswith((".whl", ".tar.gz")):
        raise MissingInputError(
            f"expected --package as a wheel or a .tar.gz, but found {request.package}; "
            "make one with: python -m pip wheel --no-deps -w dist ."
        )
    shutil.copyfile(request.package, folder / request.package.name)
    return request.base_image, request.package.name
