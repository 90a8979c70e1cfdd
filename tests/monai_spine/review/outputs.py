"""Outputs of ``predict`` that were never graded, and servers of them with a client that may do everything."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.files import safe_name
from monai_spine.review.access import HEADER
from monai_spine.review.run import review_server
from monai_spine.review.server import ReviewServer
from tests.cohorts import write_study
from tests.monai_spine.report.results import content

CANAL = "spinal_canal_stenosis_l4_l5"


def write_output(out: Path, studies: Sequence[str], *, volumes: bool = True, sure: Sequence[float] = ()) -> Path:
    """Write ``findings.json`` of each study, points around the middle of its volumes, and the volumes.

    ``sure``: the probability of each study's grades.
    """
    for n, study in enumerate(studies):
        folder = out / safe_name(study)
        found = content(study=study)
        for k, one in enumerate(found["findings"]):
            one["point"] = [float(k % 5), 2.0, float(10 - k % 5 * 5)]
            one["point_confidence"], one["series"] = 0.5, "sagittal_t2.nii.gz"
            if sure:
                one["natural"] = {"normal_mild": sure[n], "moderate": 1 - sure[n], "severe": 0.0}
        if volumes:
            series = write_study(out / "volumes" / folder.name, np.random.default_rng(n))
            names = {Path(file).name: kind for kind, files in series.items() for file in files}
            found |= {"folder": f"volumes/{folder.name}", "volumes": names}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "findings.json").write_text(json.dumps(found))
    return out


@dataclass
class Client:
    """Asks a server as the page does, with the headers of a browser; others take the place of these."""

    server: ReviewServer
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        port = self.server.access.port
        self.own = {
            "Host": f"127.0.0.1:{port}",
            "Cookie": self.server.access.cookie.split(";")[0],
            "Sec-Fetch-Site": "same-origin",
        }
        self.change = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json", HEADER: "1"}

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str | None] | None = None
    ) -> http.client.HTTPResponse:
        """The answer; its body is read into ``content``. A header that is None is not sent."""
        sent = {**self.own, **(self.change if method == "POST" else {}), **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.access.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if body is not None and "Content-Length" not in sent:
            sent["Content-Length"] = str(len(body))
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.content = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer

    def get(self, path: str) -> Any:
        """The JSON of a path."""
        return json.loads(self.ask("GET", path).content)  # type: ignore[attr-defined]

    def post(self, number: int, **request: Any) -> tuple[int, Any]:
        """Send a change; the status and the JSON."""
        answer = self.ask("POST", f"/api/studies/{number}", json.dumps({"by": "AB", **request}).encode())
        return answer.status, json.loads(answer.content)  # type: ignore[attr-defined]


@dataclass
class Site:
    server: ReviewServer
    client: Client
    out: Path


@contextmanager
def serving(out: Path, **options: Any) -> Iterator[Site]:
    """A server in a thread, without models: a request to grade again waits for ever."""
    server = review_server(out, **options)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield Site(server, Client(server), out)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
