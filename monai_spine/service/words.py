"""Texts for logs and pages, which name no patient."""

from __future__ import annotations

import re
import traceback

_UID = re.compile(r"\d+(?:\.\d+){3,}")


def without_uids(text: str) -> str:
    """A text without DICOM UIDs, by which an archive would find the patient."""
    return _UID.sub("<uid>", text)


def error_in_words(error: BaseException) -> str:
    """An error's type and place; its message may hold what a peer sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
