"""Write ``constraints.txt``: the versions of all dependencies in this environment, with which the tests were run.

usage: python benchmarks/constraints.py [EXTRA…]
"""

from __future__ import annotations

import configparser
import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRAS = ("test", "docs", "cluster", "onnx", "tune")
HEAD = """# Versions with which the tests were run. For an installation that can be repeated:
#   pip install -c constraints.txt '.[test,docs]'
# setup.cfg has the oldest versions that work. Written by: python benchmarks/constraints.py
"""


def requirements(extras: tuple[str, ...]) -> list[Requirement]:
    """What setup.cfg asks for: the core, and some extras."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in extras)]
    lines = (line.strip() for text in texts for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned(wanted: list[Requirement]) -> dict[str, str]:
    """Versions of the requirements and of all that these need, by their canonical names."""
    versions: dict[str, str] = {}
    waiting = [(one, extra) for one in wanted for extra in ("", *one.extras)]
    seen = set()
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        distribution = metadata.distribution(requirement.name)
        versions[name] = re.sub(r"\+.*", "", distribution.version)  # without "+cpu", which no index has
        for line in distribution.requires or ():
            inner = Requirement(line)
            if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                waiting += [(inner, one) for one in ("", *inner.extras)]
    return dict(sorted(versions.items()))


def main() -> None:
    """Write the file."""
    extras = tuple(sys.argv[1:]) or EXTRAS
    lines = [f"{name}=={version}" for name, version in pinned(requirements(extras)).items()]
    (ROOT / "constraints.txt").write_text(HEAD + "\n".join(lines) + "\n")
    sys.stdout.write(f"{len(lines)} packages pinned\n")


if __name__ == "__main__":
    main()
