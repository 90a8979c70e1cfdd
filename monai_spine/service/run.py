"""``monai-spine serve``: from a configuration to a service that runs until a signal."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from monai_spine import __version__
from monai_spine.errors import ExitCode
from monai_spine.output_lock import output_lock
from monai_spine.service.archive import open_archive
from monai_spine.service.configuration import Configuration, read_configuration
from monai_spine.service.grading import GradeStudy, StudyGrader
from monai_spine.service.receiver import quiet_library
from monai_spine.service.service import Service
from monai_spine.service.tls import server_context
from monai_spine.service.words import error_in_words

if TYPE_CHECKING:
    from monai_spine.prediction.models import Models

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.5


def check_configuration(path: Path) -> str:
    """Check a configuration, with its files of TLS and its models; a summary for people.

    Raises
    ------
    SpineError
        For the first mistake, as one line.
    """
    configuration = read_configuration(path)
    listener, web = configuration.receive.dicom, configuration.receive.dicomweb
    if listener is not None and listener.tls is not None:
        server_context(listener.tls)
    open_archive(configuration.send)
    if web is not None:
        from monai_spine.service.archive import web_client

        web_client(web)
    models = _open_models(configuration)
    lines = [f"{path}: the configuration can be used"]
    if listener is not None:
        tls = "with TLS" if listener.tls else "without TLS"
        lines.append(f"receives at {listener.address}, port {listener.port}, as {listener.ae_title}, {tls}, from:")
        lines += [f"  {peer.ae_title} at {', '.join(peer.addresses)}" for peer in listener.peers]
    if web is not None:
        lines.append(f"asks {web.url} every {web.every_seconds:g} s")
    send = configuration.send
    target = f"{send.dicom.ae_title} at {send.dicom.address}, port {send.dicom.port}" if send.dicom else ""
    lines.append(f"sends to {target or (send.dicomweb.url if send.dicomweb else '')}")
    lines.append(f"models: {', '.join(grader.name for grader in models.graders)}. {models.provenance}")
    return "\n".join(lines)


def run_service(path: Path, grade: GradeStudy | None = None) -> bool:
    """Run the service of a configuration until SIGTERM or SIGINT; whether it ended without a fault of ours.

    ``grade`` takes the place of the models, for tests.

    Raises
    ------
    SpineError
        If the configuration, the folder or a port cannot be used, or another service uses the folder.
    """
    configuration = read_configuration(path)
    _log_to_stderr()
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        del frame
        logger.info("stopping on %s", signal.Signals(number).name)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # the second one ends it at once; the queue does not mind

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, ask_to_stop)
    models = None if grade is not None else _open_models(configuration)
    configuration.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with output_lock(configuration.folder):
        chosen = grade or StudyGrader(_required(models))
        service = Service(configuration, chosen, _digest(models))
        service.start()
        while not stop.wait(_PAUSE_SECONDS) and not service.failed:
            pass
        ended = service.stop()
        logger.info("stopped")
        if not ended:
            # A thread inside a network's pass cannot be interrupted, and Python's own end would crash in it.
            os._exit(ExitCode.OUR_FAULT if service.failed else ExitCode.DONE)
    return not service.failed


def _required(models: Models | None) -> Models:
    assert models is not None
    logger.info("models: %s. %s", ", ".join(grader.name for grader in models.graders), models.provenance)
    return models


def _digest(models: Models | None) -> str:
    """Differs between models whose grades may differ."""
    parts = [] if models is None else [models.digest, *(grader.digest for grader in models.graders)]
    return hashlib.sha256("\n".join([__version__, *map(str, parts)]).encode()).hexdigest()


def _open_models(configuration: Configuration) -> Models:
    from monai_spine.prediction.models import open_models  # torch: after all mistakes that can be seen without it

    options: dict[str, Any] = configuration.models.options()
    return open_models(**options)


def _log_to_stderr() -> None:
    """Our own messages alone: warnings and tracebacks of libraries may quote what a peer sent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    own = logging.getLogger("monai_spine.service")
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    own.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())
    quiet_library()
    warnings.simplefilter("ignore")
    threading.excepthook = lambda about: logger.error(
        "a thread ended: %s", error_in_words(about.exc_value) if about.exc_value else about.exc_type.__name__
    )
