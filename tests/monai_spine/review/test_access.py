"""Only the page of this server, opened with its token, is answered."""

import http.client
import json
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_spine.review.access import HEADER, Access
from tests.monai_spine.review.outputs import Site

PATHS = [
    "/",
    "/review.js",
    "/review.css",
    "/viewer.js",
    "/icon.svg",
    "/api/studies",
    "/api/studies/0",
    "/slices/0/0/0.png",
]
GRADE = json.dumps(
    {"what": "grade", "finding": "spinal_canal_stenosis_l1_l2", "after": "severe", "version": 0, "by": "AB"}
)


def unchanged(site: Site) -> bool:
    return not list(site.out.rglob("corrections.json"))


def test_the_token_gives_a_cookie_that_scripts_and_other_sites_do_not_get(site: Site) -> None:
    path = site.server.access.url.partition(str(site.server.access.port))[2]
    answer = site.client.ask("GET", path, headers={"Cookie": None, "Sec-Fetch-Site": "cross-site"})
    cookie = answer.headers["Set-Cookie"]
    assert answer.status == 200
    assert {part.strip() for part in cookie.split(";")[1:]} == {"HttpOnly", "SameSite=Strict", "Path=/"}
    again = site.client.ask("GET", "/", headers={"Cookie": cookie.split(";")[0], "Sec-Fetch-Site": "none"})
    assert again.status == 200
    assert b"<script" in again.content


@pytest.mark.parametrize("path", PATHS)
def test_without_the_cookie_nothing_is_served(site: Site, path: str) -> None:
    name = site.server.access.cookie.partition("=")[0]
    assert site.client.ask("GET", path).status == 200
    for cookie in (None, f"{name}=", f"{name}=wrong", f"{name}={site.server.access.token}", "\xff=\xff"):
        answer = site.client.ask("GET", path, headers={"Cookie": cookie})
        assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)
    assert unchanged(site)


@pytest.mark.parametrize("query", ["?token=", "?token=wrong", "?token=a&token=b", "?x=1", "?" + "&".join("abcdefgh")])
def test_a_wrong_token_gives_no_cookie(site: Site, query: str) -> None:
    answer = site.client.ask("GET", f"/{query}")
    assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "[::1]:{port}"]
)
def test_other_names_for_this_machine_are_refused_as_after_dns_rebinding(site: Site, host: str) -> None:
    port = site.server.access.port
    url = site.server.access.url.partition(str(port))[2]
    for path in (*PATHS, url):
        answer = site.client.ask("GET", path, headers={"Host": host.format(port=port)})
        assert (answer.status, answer.headers["Set-Cookie"]) == (421, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {HEADER: None},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": None},
        {"Cookie": None},
    ],
)
def test_changes_of_other_pages_are_refused(site: Site, headers: dict) -> None:
    assert site.client.ask("POST", "/api/studies/0", GRADE.encode(), headers).status == 403
    assert unchanged(site)
    assert site.client.ask("POST", "/api/studies/0", GRADE.encode()).status == 200
    assert not unchanged(site)


@pytest.mark.parametrize("path", PATHS)
def test_another_server_of_this_machine_cannot_read_through_the_browser(site: Site, path: str) -> None:
    """Its pages are of the same site, so that the cookie is sent."""
    assert site.client.ask("GET", path, headers={"Sec-Fetch-Site": "same-site"}).status == 403


def test_no_answer_lets_a_page_be_framed_sniffed_cached_or_run_other_scripts(site: Site) -> None:
    for path in (*PATHS, "/nothing"):
        headers = site.client.ask("GET", path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert (policy["frame-ancestors"], headers["X-Frame-Options"]) == ("'none'", "DENY")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Access-Control-Allow-Origin"] is None


def test_the_page_itself_needs_nothing_that_its_policy_forbids(site: Site) -> None:
    page = site.client.ask("GET", "/").content.decode()
    assert "style=" not in page
    assert "onclick" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    scripts = b"".join(site.client.ask("GET", f"/{name}").content for name in ("review.js", "viewer.js"))
    for word in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval(", b"new Function"):
        assert word not in scripts


TRICKS = [
    "/..",
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/review.js/../../access.py",
    "/assets/review.js",
    "//etc/passwd",
    "/api/studies/../studies/0",
    "/api/studies/-1",
    "/api/studies/99",
    "/api/studies/a",
    "/api/studies/%D9%A0",
    "/api/studies/0/corrections.json",
    "/slices/0/0/99.png",
    "/slices/0/9/0.png",
    "/slices/9/0/0.png",
    "/slices/0/0/0",
    "/slices/0/0/-1.png",
    "/slices/0/..%2f..%2fa/0.png",
]


@pytest.mark.parametrize("path", TRICKS)
def test_paths_lead_to_nothing_but_what_the_tables_hold(site: Site, path: str) -> None:
    assert site.client.ask("GET", path).status == 404
    assert site.client.ask("POST", path, GRADE.encode()).status == 404
    assert unchanged(site)


@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60).map("/".__add__))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_at_all_is_a_fault_of_ours(site: Site, path: str) -> None:
    assert site.client.ask("GET", path).status in {200, 400, 403, 404, 414}


def raw(site: Site, text: bytes) -> bytes:
    """What the server answers to bytes, until it closes the connection or says nothing more."""
    with socket.create_connection(("127.0.0.1", site.server.access.port), timeout=5) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def head(site: Site, *lines: str) -> bytes:
    own = {**site.client.own, **site.client.change}
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in own.items()), "", ""]).encode()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["POST /api/studies/0 HTTP/1.1"], b"411"),
        (["POST /api/studies/0 HTTP/1.1", "Content-Length: 16385"], b"413"),
        (["POST /api/studies/0 HTTP/1.1", "Content-Length: -1"], b"411"),
        (["POST /api/studies/0 HTTP/1.1", "Content-Length: 1e3"], b"411"),
        (["POST /api/studies/0 HTTP/1.1", "Content-Length: 2", "Content-Length: 3"], b"411"),
        (["POST /api/studies/0 HTTP/1.1", "Transfer-Encoding: chunked"], b"411"),
        (["POST /api/studies/0 HTTP/1.1", "Content-Length: 900"], b"400"),
        (["GET /api/studies HTTP/1.1", "Content-Length: 5"], b"400"),
        (["PUT /api/studies/0 HTTP/1.1"], b"501"),
        (["DELETE /api/studies/0 HTTP/1.1"], b"501"),
        (["OPTIONS /api/studies/0 HTTP/1.1"], b"501"),
        (["TRACE / HTTP/1.1"], b"501"),
        (["GET http://evil.example/ HTTP/1.1"], b"414"),
        (["GET /" + "a" * 600 + " HTTP/1.1"], b"414"),
        (["GET /" + "a" * 70000 + " HTTP/1.1"], b"414"),
        (["GET / HTTP/1.1", *[f"X-{n}: 1" for n in range(120)]], b"431"),
        (["GET / HTTP/9.9"], b"505"),
        (["\x16\x03\x01"], b"400"),
    ],
)
def test_requests_of_other_forms_and_sizes_are_refused(site: Site, lines: list[str], status: bytes) -> None:
    answer = raw(site, head(site, *lines))
    assert status in answer.split(b"\r\n", 1)[0] or answer.startswith(b'{"message"')
    assert unchanged(site)
    assert site.client.ask("GET", "/api/studies").status == 200


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"null", b"[" * 9000, b'{"what": NaN}', b"\xff\xfe", b'{"what": {}}']
)
def test_bodies_that_are_no_change_are_refused(site: Site, body: bytes) -> None:
    answer = site.client.ask("POST", "/api/studies/0", body)
    assert answer.status == 400
    assert json.loads(answer.content)["message"]
    assert unchanged(site)


def test_secrets_differ_and_stand_in_no_repr() -> None:
    one, other = Access(1), Access(1)
    assert len({one.token, other.token, one.session, other.session}) == 4
    assert len(one.token) >= 40
    assert one.token not in repr(one)
    assert one.session not in repr(one)


def test_the_server_listens_on_loopback_alone(site: Site) -> None:
    assert site.server.server_address[0] == "127.0.0.1"


def test_nothing_is_written_to_the_terminal_not_even_the_token(
    site: Site, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.server.access.port)
    connection.request("GET", site.server.access.url.partition(str(site.server.access.port))[2])
    connection.getresponse().read()
    connection.close()
    site.client.ask("GET", "/nothing")
    assert capfd.readouterr() == ("", "")
