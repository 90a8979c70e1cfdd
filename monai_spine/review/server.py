"""The web server: what a request must look like, and what each path answers. The standard library's, on loopback."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, cast
from urllib.parse import urlsplit

from monai_spine import __version__
from monai_spine.errors import OutputError, SpineError, one_line
from monai_spine.review.access import Access, RefusedError
from monai_spine.review.changes import Changes, ConflictError
from monai_spine.review.pictures import SlicePictures
from monai_spine.review.regrading import Regrading
from monai_spine.review.studies import Order, ReviewStudies
from monai_spine.review.study_state import study_state, vocabulary

logger = logging.getLogger(__name__)

_MOST_BYTES = 16_384
"""Of the body of a change; the largest has a few hundred."""
_LONGEST_PATH = 512
_SECONDS = 30
"""A connection that sends nothing for so long is closed."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Images of a patient do not belong into the cache on the disk.
    "Cache-Control": "no-store",
}
# A navigation that begins at our own page sends the cookie, which a redirect from another site would not.
_WELCOME = b'<!doctype html><meta http-equiv="refresh" content="0;url=/"><title>monai_spine</title>'


@dataclass(frozen=True)
class Answer:
    """An answer to a request."""

    status: HTTPStatus
    media_type: str
    body: bytes
    headers: Mapping[str, str] | None = None


def _json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    return Answer(status, "application/json; charset=utf-8", body)


def _assets() -> dict[str, Answer]:
    """The files of the page by their paths: no other file is ever served."""
    own, report = files("monai_spine.review") / "assets", files("monai_spine.report") / "templates"
    style = (report / "all_pages.css").read_bytes() + (own / "review.css").read_bytes()
    named = {
        "/": ("text/html", (own / "review.html").read_bytes()),
        "/review.css": ("text/css", style),
        # Browsers ask for the second name on pages that name no icon.
        **dict.fromkeys(("/icon.svg", "/favicon.ico"), ("image/svg+xml", (own / "icon.svg").read_bytes())),
        **{f"/{name}": ("text/javascript", (own / name).read_bytes()) for name in ("review.js", "viewer.js")},
    }
    return {
        path: Answer(HTTPStatus.OK, f"{media_type}; charset=utf-8", body) for path, (media_type, body) in named.items()
    }


class ReviewSite:
    """What each path answers; it knows no sockets.

    Parameters
    ----------
    by
        Initials that the page begins with.
    """

    def __init__(  # noqa: PLR0917 - its parts
        self,
        studies: ReviewStudies,
        regrading: Regrading,
        changes: Changes,
        pictures: SlicePictures,
        order: Order = Order.UNCERTAINTY,
        by: str = "",
    ) -> None:
        self.studies, self.regrading, self.changes, self.pictures = studies, regrading, changes, pictures
        self.order, self.by, self._assets = order, by, _assets()
        self._reads: list[tuple[re.Pattern[str], Callable[..., Answer]]] = [
            (re.compile(r"/api/studies"), self._list),
            (re.compile(r"/api/studies/([0-9]{1,6})"), self._study),
            (re.compile(r"/slices/([0-9]{1,6})/([0-9]{1,3})/([0-9]{1,5})\.png"), self._slice),
        ]

    def get(self, path: str) -> Answer:
        """The answer to a request that reads."""
        if path in self._assets:
            return self._assets[path]
        for pattern, answer in self._reads:
            if match := pattern.fullmatch(path):
                return self._guarded(lambda answer=answer, match=match: answer(*map(int, match.groups())))  # type: ignore[misc]
        return _json({"message": "there is no such page"}, HTTPStatus.NOT_FOUND)

    def post(self, path: str, body: bytes) -> Answer:
        """The answer to a change: the study as it is then."""
        match = re.fullmatch(r"/api/studies/([0-9]{1,6})", path)
        if not match:
            return _json({"message": "there is no such page"}, HTTPStatus.NOT_FOUND)
        return self._guarded(lambda: self._change(int(match[1]), body))

    def _guarded(self, answer: Callable[[], Answer]) -> Answer:
        try:
            return answer()
        except IndexError:
            return _json({"message": "there is no such study, volume or slice"}, HTTPStatus.NOT_FOUND)
        except OutputError as error:
            return _json({"message": f"not saved: {one_line(error)}"}, HTTPStatus.SERVICE_UNAVAILABLE)
        except SpineError as error:
            return _json({"message": one_line(error)}, HTTPStatus.BAD_REQUEST)
        except OSError as error:
            return _json({"message": f"not saved: {error.strerror}"}, HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception as error:  # a fault of ours in one request must not end the page
            logger.exception("a request failed")
            return _json(
                {"message": f"an error that was not foreseen ({type(error).__name__}); please report it"},
                HTTPStatus.INTERNAL_SERVER_ERROR,
            )

    def _list(self) -> Answer:
        return _json(
            {
                **vocabulary(),
                "version": __version__,
                "order": self.order.value,
                "by": self.by,
                "unread": list(self.studies.unread),
                "studies": self.studies.listed(self.order),
            }
        )

    def _study(self, number: int) -> Answer:
        return _json(self._state(number))

    def _slice(self, number: int, volume: int, k: int) -> Answer:
        shown = self.studies.study(number).volumes[volume]
        return Answer(HTTPStatus.OK, "image/png", self.pictures.png(shown, k))

    def _change(self, number: int, body: bytes) -> Answer:
        try:
            request = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return _json({"message": "expected JSON"}, HTTPStatus.BAD_REQUEST)
        if not isinstance(request, dict):
            return _json({"message": "expected an object"}, HTTPStatus.BAD_REQUEST)
        try:
            self.changes.apply(number, request)
        except ConflictError:
            message = "Another window changed this study. You see the newest state now; make your change again."
            return _json({"message": message, "study": self._state(number)}, HTTPStatus.CONFLICT)
        return self._study(number)

    def _state(self, number: int) -> dict[str, Any]:
        grading = self.regrading.state(number)  # before the study, which is read again first
        return study_state(self.studies.study(number), grading) | {"summary": self.studies.summary(number)}


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


class ReviewServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 alone.

    Parameters
    ----------
    port
        0 for any that is free.
    """

    daemon_threads = True
    request_queue_size = 64  # a browser opens several connections at once
    allow_reuse_address = True

    def __init__(self, port: int, site: ReviewSite) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.site, self.access = site, Access(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the base class has it
        """A connection that broke off is nothing to show a traceback for."""
        if not isinstance(sys.exc_info()[1], OSError):
            logger.exception("a connection failed")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open: a new one for each slice would cost as much as the slice
    server_version, sys_version = "monai_spine", ""
    timeout = _SECONDS
    disable_nagle_algorithm = True

    @property
    def _server(self) -> ReviewServer:
        return cast(ReviewServer, self.server)

    def do_GET(self) -> None:
        """Answer a request that reads."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a change."""
        self._answer(self._post)

    def _get(self) -> Answer:
        access, url = self._server.access, self._url()
        if url.path == "/" and url.query:
            access.check_host(self.headers)
            if not access.has_token(url.query):
                raise RefusedError(HTTPStatus.FORBIDDEN, "the token is not that of this server")
            return Answer(HTTPStatus.OK, "text/html; charset=utf-8", _WELCOME, {"Set-Cookie": access.cookie})
        access.check(self.headers)
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a request that reads has no body")
        return self._server.site.get(url.path)

    def _post(self) -> Answer:
        self._server.access.check_change(self.headers)
        return self._server.site.post(self._url().path, self._body())

    def _url(self) -> Any:
        if len(self.path) > _LONGEST_PATH or not self.path.startswith("/"):
            raise RefusedError(HTTPStatus.REQUEST_URI_TOO_LONG, "expected a short path")
        return urlsplit(self.path)

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length") or []
        if self.headers.get("Transfer-Encoding") or len(lengths) != 1 or not re.fullmatch("[0-9]{1,9}", lengths[0]):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if int(lengths[0]) > _MOST_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {_MOST_BYTES} bytes")
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request broke off")
        return body

    def _answer(self, answer: Callable[[], Answer]) -> None:
        try:
            self._send(answer())
        except RefusedError as error:
            # Its body may be unread, and would be taken for the next request.
            self.close_connection = True
            self._send(_json({"message": str(error)}, error.status))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": answer.media_type, "Content-Length": str(len(answer.body)), **_HEADERS}
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in {**headers, **(answer.headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Errors that the base class finds, such as another method, with the headers of every answer."""
        self.close_connection = True
        self._send(_json({"message": message or HTTPStatus(code).phrase}, HTTPStatus(code)))

    def log_message(self, format: str, *args: Any) -> None:
        """The base class would write every request to stderr, with the token of the first."""
