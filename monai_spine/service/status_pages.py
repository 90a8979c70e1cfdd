"""``/health``, ``/metrics`` and ``/studies``: for monitors and people on the machine itself."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from monai_spine.errors import OutputError
from monai_spine.service.configuration import Http
from monai_spine.service.queued_study import QueuedStudy
from monai_spine.service.study_queue import StudyQueue
from monai_spine.service.words import without_uids

logger = logging.getLogger(__name__)

_SHOWN = 200
"""Studies of the page, the newest first."""
_HEAD = (
    "study",
    "state",
    "images",
    "received",
    "changed",
    "starts",
    "attempts",
    "next",
    "outcome",
    "seconds",
    "reason",
)

Health = Callable[[], Mapping[str, Any]]


def studies_table(queue: StudyQueue) -> str:
    """A line for each study, the newest first; it names no patient."""
    now = time.time()
    rows = [_HEAD, *(_row(one, now) for one in queue.studies(limit=_SHOWN))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows) + "\n"


def _row(one: QueuedStudy, now: float) -> tuple[str, ...]:
    wait = f"in {one.due - now:.0f} s" if one.due > now else ""
    times = (_clock(one.created), _clock(one.changed))
    numbers = (str(one.starts), str(one.attempts))
    seconds = f"{one.seconds:.1f}" if one.seconds else ""
    about = (one.outcome, seconds, without_uids(one.reason))
    return (str(one.number), one.state.value, str(one.images or ""), *times, *numbers, wait, *about)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


class StatusPages:
    """An HTTP server, which answers GET alone.

    Parameters
    ----------
    health
        What ``/health`` shows; its ``status`` is ``ok``, or what is wrong.
    """

    def __init__(self, http: Http, registry: CollectorRegistry, queue: StudyQueue, health: Health) -> None:
        pages = {
            "/health": lambda: ("application/json", json.dumps(health(), indent=1) + "\n"),
            "/metrics": lambda: (CONTENT_TYPE_LATEST, generate_latest(registry).decode()),
            "/studies": lambda: ("text/plain; charset=utf-8", studies_table(queue)),
        }
        handler = type("_OwnPages", (_Pages,), {"pages": pages})
        try:
            self._server = ThreadingHTTPServer((http.address, http.port), handler)
        except OSError as error:
            place = f"{http.address}, port {http.port}"
            raise OutputError(f"cannot listen on {place}: {error.strerror}; choose another http.port") from error
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer in a thread of its own."""
        threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True, name="pages").start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Pages(BaseHTTPRequestHandler):
    pages: ClassVar[Mapping[str, Callable[[], tuple[str, str]]]] = {}
    timeout = 10
    server_version, sys_version = "monai_spine", ""

    def do_GET(self) -> None:
        """Answer a page."""
        page = self.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404, explain=f"expected one of {', '.join(self.pages)}")
            return
        media_type, text = page()
        healthy = self.path != "/health" or json.loads(text)["status"] == "ok"
        body = text.encode()
        self.send_response(200 if healthy else 503)
        for name, value in (
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: monitors ask every few seconds."""
