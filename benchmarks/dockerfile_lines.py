"""Run the RUN lines of the Dockerfile without a builder: each stage in a fresh folder with a fresh environment.

    python benchmarks/dockerfile_lines.py --torch-index https://pypi.org/simple

This is no image: the system below is this machine's, not python:*-slim. Paths from the root are moved into the folder,
COPY is a copy, and ``useradd`` writes its files there. As root, the health check and the entry point then run as the
image's user without a network.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINE = re.compile(r"^(FROM|ARG|ENV|WORKDIR|COPY|RUN|USER|HEALTHCHECK|ENTRYPOINT|CMD)\s+(.*)$")
_MOVED = re.compile(r"(?<![\w./:])/(wheels|source|work)\b")


@dataclass
class Stage:
    """What the lines so far made."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0"
    commands: dict[str, list[str]] = field(default_factory=dict)

    def path(self, inside: str) -> Path:
        return self.folder / inside.lstrip("/")

    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'shims'}:{self.folder / 'venv/bin'}:{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "HOME"}
        return {**kept, **self.variables, "PATH": path}


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction with its arguments; continued lines joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(match[1], match[2]) for line in joined.splitlines() if (match := _LINE.match(line))]


def new_stage(folder: Path) -> Stage:
    """A fresh environment, and a folder for the files of ``useradd``."""
    venv.create(folder / "venv", with_pip=True)
    (folder / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow"):
        (folder / "etc" / name).touch()
    (folder / "home").mkdir()
    (folder / "shims").mkdir()
    shim = folder / "shims" / "useradd"
    shim.write_text(f'#!/bin/sh\nexec /usr/sbin/useradd --prefix {folder} "$@"\n')
    shim.chmod(0o755)
    return Stage(folder)


def copy(stage: Stage, arguments: str, stages: dict[str, Stage]) -> None:
    """COPY from the repository (what git tracks) or from another stage."""
    words = arguments.split()
    source = None
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")]
    here = stage.path(stage.workdir)
    target = stage.path(words[1]) if words[1].startswith("/") else here / words[1]
    if source is not None:
        shutil.copytree(source.path(words[0]), target, dirs_exist_ok=True)
        return
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)


def execute(stage: Stage, line: str) -> None:
    """RUN a line."""
    moved = _MOVED.sub(lambda match: f"{stage.folder}/{match[1]}", line)
    started = time.monotonic()
    subprocess.run(["sh", "-c", moved], cwd=stage.path(stage.workdir), env=stage.environment(), check=True)
    print(f"[{time.monotonic() - started:.0f} s] RUN {line[:90]}", flush=True)


def as_user(stage: Stage, words: list[str]) -> None:
    """Run a command as the image's user and, as root, without a network."""
    wrapped = ["unshare", "--net", "setpriv", f"--reuid={stage.user}", "--clear-groups"] if os.geteuid() == 0 else []
    environment = {**stage.environment(), "HOME": str(stage.folder)}
    subprocess.run(
        [*wrapped, *words], cwd=stage.path(stage.workdir), env=environment, check=True, stdout=subprocess.DEVNULL
    )
    print(f"[as {stage.user}, no network] {' '.join(words)}", flush=True)


def build(folder: Path, arguments: dict[str, str]) -> Stage:
    """Run all stages; the last one."""
    stages: dict[str, Stage] = {}
    stage = None
    for name, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if name == "FROM":
            stage = new_stage(folder / f"stage-{len(stages)}")
            stages[rest.split(" AS ")[1] if " AS " in rest else "last"] = stage
        elif stage is None:
            continue  # an ARG of the base image
        elif name == "ARG":
            variable, _, value = rest.partition("=")
            stage.variables[variable] = arguments.get(variable, value)
        elif name == "ENV":
            stage.variables.update(word.split("=", 1) for word in rest.split())
        elif name == "WORKDIR":
            stage.workdir = rest
            stage.path(rest).mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            copy(stage, rest, stages)
        elif name == "RUN":
            execute(stage, rest)
        elif name == "USER":
            stage.user = rest
        else:
            stage.commands[name] = json.loads(rest[rest.index("[") :])
    if stage is None:
        raise SystemExit("the Dockerfile has no FROM")
    return stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-index", default="https://download.pytorch.org/whl/cpu")
    parser.add_argument("--folder", help="where the fresh folder is made; about 6 GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as fresh:
        Path(fresh).chmod(0o755)
        stage = build(Path(fresh), {"TORCH_INDEX": options.torch_index})
        as_user(stage, stage.commands["HEALTHCHECK"])
        as_user(stage, [*stage.commands["ENTRYPOINT"], *stage.commands["CMD"]])
        size = sum(path.lstat().st_size for path in (stage.folder / "venv").rglob("*"))
        print(f"{sys.version.split()[0]}: all lines ran; the environment has {size / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
