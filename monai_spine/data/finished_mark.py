"""The file that says that a study is finished: of which volumes and settings, and with which files beside it.

A later run keeps a study whose mark fits, and does the others again. The mark is the last file that is written.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isal import isal_zlib

from monai_spine import __version__
from monai_spine.files import checksum, write_text

logger = logging.getLogger(__name__)

_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Errors of a mark that another program has written, or that is not whole."""


def fingerprint(
    study: str,
    volumes: Sequence[str],
    settings: Mapping[str, object],
    named: Callable[[str], str] = lambda text: text,
) -> str:
    """A digest of a study's volumes (paths and all bytes) and of what the result depends on besides.

    ``named`` gives a path as the user knows it, where a copy is read.
    """
    about = {
        "version": __version__,
        "settings": dict(settings),
        "study": study,
        # Size and time do not show every change of a volume.
        "volumes": [[named(str(Path(file).resolve())), checksum(file)] for file in volumes],
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def write_mark(path: Path, content: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write the mark of a finished study.

    Parameters
    ----------
    content
        With ``schema`` and ``fingerprint``.
    files
        The files beside it that later runs read.
    """
    checksums = {name: checksum(path.with_name(name)) for name in files}
    _write(path, {**content, "checksums": checksums})


def read_mark(path: Path, schema: str, fingerprint: str) -> dict[str, Any] | None:
    """The content of a mark; None if there is none, it is damaged, another one, or a file beside it has changed."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("checksum") != _checksum_of(content):
            raise ValueError("its checksum is wrong")
        if content["schema"] != schema or content["fingerprint"] != fingerprint:
            return None
        checksums = content.pop("checksums").items()
        changed = [name for name, known in checksums if checksum(path.with_name(name)) != known]
    except FileNotFoundError:
        return None
    except _DAMAGED as error:
        logger.warning("%s: damaged, so the study is done again (%s)", path, error)
        return None
    if changed:
        logger.warning("%s: %s changed since, so the study is done again", path.parent, " and ".join(changed))
        return None
    return content


def update_checksum(path: Path, name: str, after: bytes) -> None:
    """Note in a mark what a file beside it will be, which the program itself changes next: a later run keeps the study.

    If the mark knows another file than the one that is there, it stays as it is: somebody else has changed that.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = content["checksums"][name]
        if content.pop("checksum") != _checksum_of(content) or known != checksum(path.with_name(name)):
            return
    except _DAMAGED:
        return  # `read_mark` says what is wrong
    content["checksums"][name] = isal_zlib.crc32(after)
    _write(path, content)


def has_changed(path: Path) -> bool:
    """Whether files beside a mark are others than those that it was written for; False without a mark."""
    try:
        checksums = json.loads(path.read_text(encoding="utf-8"))["checksums"]
        return any(checksum(path.with_name(name)) != known for name, known in checksums.items())
    except FileNotFoundError:
        return False
    except _DAMAGED:
        return True


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps({**content, "checksum": _checksum_of(content)}, indent=1) + "\n")


def _checksum_of(content: Mapping[str, object]) -> int:
    return isal_zlib.crc32(json.dumps(content, sort_keys=True).encode())
