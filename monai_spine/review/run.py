"""The command ``monai-spine review``: the page, until the person ends it."""

from __future__ import annotations

import logging
import signal
import tempfile
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidOptionError, OutputError, one_line
from monai_spine.prediction.models import open_models
from monai_spine.prediction.reader_grades import behind, update_readers
from monai_spine.review.changes import Changes
from monai_spine.review.graded_options import options_as_graded
from monai_spine.review.pictures import SlicePictures
from monai_spine.review.regrading import Regrading
from monai_spine.review.server import ReviewServer, ReviewSite
from monai_spine.review.studies import Order, ReviewStudies
from monai_spine.review.writing import Writing

logger = logging.getLogger(__name__)

MOST_BYTES = 512 << 20
"""Memory for open volumes: about ten full-size studies."""


def review_server(
    out: Path,
    *,
    inputs: Sequence[Path] = (),
    models: Mapping[str, Any] | None = None,
    order: Order = Order.UNCERTAINTY,
    by: str = "",
    port: int = 0,
    quiet: bool = True,
) -> ReviewServer:
    """The server of an output folder of ``predict``; it does not serve yet.

    Parameters
    ----------
    inputs
        Those of ``predict``, for studies whose volumes are not in ``out``.
    models
        Options of `monai_spine.prediction.models.open_models`, with which studies are graded again; for others and
        None see `options_as_graded`.
    by
        Initials that the page begins with.
    port
        0 for any that is free.

    Raises
    ------
    MissingInputError, InvalidOptionError
        If the folder has no findings, no volume is at hand, or the port is taken.
    """
    writing = Writing(out)
    _make_good(out, writing)
    studies = ReviewStudies(out, inputs, quiet=quiet)
    regrading = Regrading(studies, lambda: open_models(**options_as_graded(out, models or {})), writing)
    site = ReviewSite(studies, regrading, Changes(studies, regrading, writing), SlicePictures(MOST_BYTES), order, by)
    try:
        return ReviewServer(port, site)
    except (OSError, OverflowError) as error:
        raise InvalidOptionError(f"port {port} cannot be used ({error}); choose another one with --port") from error


def _make_good(out: Path, writing: Writing) -> None:
    """Write the grades of readers that a killed server has left out of the findings."""
    if folders := behind(out):
        try:
            with writing():
                update_readers(out, folders)
        except OutputError as error:
            logger.warning("grades of readers are not in the findings yet: %s", one_line(error))


def run_review(out: Path, *, browser: bool, announce: Callable[[str], object], **options: Any) -> None:
    """Serve until Ctrl-C or SIGTERM. ``announce`` gets the URL; see `review_server` for the options."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the file with the token would stay
    server = review_server(out, **options)
    server.site.regrading.start()
    page = None
    try:
        announce(server.access.url)  # inside, since who reads it may press Ctrl-C at once
        page = _open_browser(server.access.url) if browser else None
        server.serve_forever()
    except KeyboardInterrupt:
        pass  # that is how it ends: all changes are written
    finally:
        server.server_close()
        server.site.regrading.stop()
        if page is not None:
            page.unlink(missing_ok=True)


def _open_browser(url: str) -> Path:
    """Open the page by a file that only this user can read: other users see the arguments of a browser's process."""
    with tempfile.NamedTemporaryFile("w", prefix="monai-spine-", suffix=".html", delete=False) as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={url}">')
    webbrowser.open(Path(file.name).as_uri())
    return Path(file.name)
