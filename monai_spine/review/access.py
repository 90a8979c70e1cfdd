"""Who may use the server: browsers that opened the URL with the token, and no other page in them.

A server on the loopback address can be reached by every user of the machine, and by every web page that a browser of
the machine shows. The token keeps out the first. The others are kept out four times: the cookie is not sent with
requests of other sites (SameSite), pages cannot set the header that changes need, browsers name the origin of every
change, and a name that somebody's DNS leads to this machine is not the server's own.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

HEADER = "X-Monai-Spine-Review"
"""A header that every change needs. Other origins cannot send it without a preflight, which is never answered."""


class RefusedError(Exception):
    """A request that is not answered: the status, and a message for people."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Access:
    """The secrets of one server, and its checks of requests.

    Attributes
    ----------
    port
        Where the server listens on 127.0.0.1.
    token
        In the URL that people open first.
    session
        In the cookie that they get for it.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def url(self) -> str:
        """What people open."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """The header that gives the cookie. Cookies know no ports, so its name does."""
        return f"{self._cookie_name}={self.session}; HttpOnly; SameSite=Strict; Path=/"

    @property
    def _cookie_name(self) -> str:
        return f"monai_spine_review_{self.port}"

    def check_host(self, headers: Message) -> str:
        """The server's own name as the request has it.

        Raises
        ------
        RefusedError
            If it is another name, as after DNS rebinding.
        """
        named = headers.get_all("Host") or []
        own = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        if len(named) != 1 or named[0].strip().lower() not in own:
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, f"this server is http://127.0.0.1:{self.port} alone")
        return named[0].strip().lower()

    def has_token(self, query: str) -> bool:
        """Whether the query of a URL has the token."""
        try:
            tokens = parse_qs(query, max_num_fields=4).get("token", [])
        except ValueError:
            return False
        return len(tokens) == 1 and _equal(tokens[0], self.token)

    def check(self, headers: Message) -> None:
        """Check a request that reads.

        Raises
        ------
        RefusedError
            If it is of another host or site, or has no cookie of ours.
        """
        self.check_host(headers)
        # Another server of this machine is the same site, so the cookie alone does not tell its pages from ours.
        if (headers.get("Sec-Fetch-Site") or "none") not in {"same-origin", "none"}:
            raise RefusedError(HTTPStatus.FORBIDDEN, "requests of other pages are not answered")
        if not self._has_cookie(headers):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "open the address that monai-spine review printed on the terminal, with its token"
            )

    def check_change(self, headers: Message) -> None:
        """Check a request that changes something.

        Raises
        ------
        RefusedError
            If it may not read either, or does not come from the page of this server.
        """
        self.check(headers)
        if headers.get("Origin", "").lower() != f"http://{self.check_host(headers)}":
            raise RefusedError(HTTPStatus.FORBIDDEN, "changes must come from the page of this server")
        if headers.get(HEADER) != "1" or headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.FORBIDDEN, f"changes need the header {HEADER}: 1, and JSON")

    def _has_cookie(self, headers: Message) -> bool:
        try:
            cookies = SimpleCookie("; ".join(headers.get_all("Cookie") or []))
        except CookieError:
            return False
        cookie = cookies.get(self._cookie_name)
        return cookie is not None and _equal(cookie.value, self.session)


def _equal(one: str, other: str) -> bool:
    """In a time that does not depend on where they differ."""
    return secrets.compare_digest(one.encode(), other.encode())
