"""``serve.yaml``: what the service listens to, whom it lets in, where it sends results, and its limits."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.grading.poses import parse_tta
from monai_spine.service.yaml_section import number, read_yaml, section

LONGEST_TITLE = 16
"""Characters of an AE title (PS3.5, VR AE)."""


@dataclass(frozen=True)
class Tls:
    """Files in PEM. ``authority`` holds the certificates by which the other side is checked."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Peer:
    """Who may send: an AE title, and the addresses or networks that may use it."""

    ae_title: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class DicomListener:
    """A C-STORE SCP."""

    peers: tuple[Peer, ...]
    ae_title: str = "MONAI_SPINE"
    address: str = "127.0.0.1"
    port: int = number(11112, 0, 65535)
    tls: Tls | None = None
    plain_network: bool = False
    """Whether other machines may send without TLS."""


@dataclass(frozen=True)
class WebSource:
    """A DICOMweb server that is asked for new studies (QIDO-RS, WADO-RS)."""

    url: str
    every_seconds: float = number(60, 0.1, 86400)
    days: int = number(2, 1, 3650)
    """Only studies whose StudyDate is not older; 1 is today alone."""
    filters: dict[str, str] = field(default_factory=dict)
    """Further keys of the search, such as ``InstitutionName: Ward*``."""
    login_file: Path | None = None
    tls: Tls | None = None
    plain_network: bool = False


@dataclass(frozen=True)
class Receive:
    """Where studies come from: one of the two, or both."""

    dicom: DicomListener | None = None
    dicomweb: WebSource | None = None


@dataclass(frozen=True)
class DicomArchive:
    """An archive that takes C-STORE."""

    ae_title: str
    address: str
    port: int = number(104, 1, 65535)
    calling_ae_title: str = "MONAI_SPINE"
    tls: Tls | None = None
    plain_network: bool = False


@dataclass(frozen=True)
class WebArchive:
    """An archive that takes STOW-RS."""

    url: str
    login_file: Path | None = None
    tls: Tls | None = None
    plain_network: bool = False


@dataclass(frozen=True)
class Send:
    """Where results go: one of the two."""

    dicom: DicomArchive | None = None
    dicomweb: WebArchive | None = None


@dataclass(frozen=True)
class ModelOptions:
    """As the options of ``predict``."""

    model: tuple[Path, ...] = ()
    weights: tuple[Path, ...] = ()
    level_model: tuple[Path, ...] = ()
    recess_model: Path | None = None
    refine: bool = True
    measures: bool = False
    measures_reference: Path | None = None
    tta: str = ""
    device: str | None = None
    runtime: str = "auto"
    precision: str = "float32"

    def options(self) -> dict[str, object]:
        """Options of `monai_spine.prediction.models.open_models`. Raises `InvalidOptionError` if ``tta`` is unknown."""
        return {
            "bundles": self.model,
            "weights": self.weights,
            "level_bundles": self.level_model,
            "recess_bundle": self.recess_model,
            "refine": self.refine,
            "measures": self.measures,
            "measures_reference": self.measures_reference,
            "tta": parse_tta(self.tta),
            "device": self.device,
            "runtime": self.runtime,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Study:
    """When a study is complete, and how often it may end the process."""

    quiet_seconds: float = number(60, 0.1, 86400)
    starts: int = number(3, 1, 100)
    """A study whose grading was begun so often and never ended is refused."""


@dataclass(frozen=True)
class Retry:
    """The wait after a failure: it doubles from the first to the longest."""

    first_seconds: float = number(10, 0.01, 86400)
    longest_seconds: float = number(900, 0.01, 86400)


@dataclass(frozen=True)
class Keep:
    """How long things stay."""

    sent_hours: float = number(1, 0, 8760)
    """Images of a study that was sent, for images of it that come late."""
    unsent_days: float = number(14, 0.0001, 3650)
    """A study that cannot be sent."""
    rows_days: float = number(30, 0.0001, 3650)
    """Rows of the queue, by which a study that is received again is not graded again."""


@dataclass(frozen=True)
class Limits:
    """What one peer, one study and the folder may use."""

    associations: int = number(16, 1, 1000)
    associations_per_address: int = number(8, 1, 1000)
    connections_per_minute: int = number(120, 1, 100000)
    """Of one address."""
    handshake_seconds: float = number(10, 0.1, 3600)
    """For TLS, and for the request of an association."""
    message_seconds: float = number(30, 0.1, 3600)
    """For the bytes of one PDU, however they trickle in."""
    idle_seconds: float = number(60, 0.1, 86400)
    association_seconds: float = number(3600, 0.1, 86400)
    pdu_bytes: int = number(131072, 4096, 16777216)
    object_mb: float = number(1024, 0.001, 65536)
    study_images: int = number(5000, 1, 1000000)
    study_mb: float = number(4096, 0.001, 1048576)
    folder_gb: float = number(100, 0.000001, 1048576)
    free_gb: float = number(2, 0, 1048576)
    """Space of the disk that is left free."""


@dataclass(frozen=True)
class Http:
    """``/health``, ``/metrics`` and ``/studies``."""

    address: str = "127.0.0.1"
    port: int = number(9464, 0, 65535)


@dataclass(frozen=True)
class Configuration:
    """All of ``serve.yaml``."""

    folder: Path
    receive: Receive
    send: Send
    models: ModelOptions = ModelOptions()
    study: Study = Study()
    retry: Retry = Retry()
    keep: Keep = Keep()
    limits: Limits = Limits()
    http: Http = Http()


def read_configuration(path: Path) -> Configuration:
    """Read and check ``serve.yaml``. Relative paths are relative to its folder.

    Raises
    ------
    SpineError
        For every mistake, as one line that names the key.
    """
    made = _absolute(section(Configuration, read_yaml(path), path.name), path.absolute().parent)
    where = f"{path.name}, "
    _check_one_of(made.send, f"{where}send", both=False)
    _check_one_of(made.receive, f"{where}receive", both=True)
    if made.receive.dicom is not None:
        _check_listener(made.receive.dicom, f"{where}receive.dicom")
    if made.receive.dicomweb is not None:
        _check_url(made.receive.dicomweb, f"{where}receive.dicomweb")
    if made.send.dicom is not None:
        _check_archive(made.send.dicom, f"{where}send.dicom")
    if made.send.dicomweb is not None:
        _check_url(made.send.dicomweb, f"{where}send.dicomweb")
    if made.retry.longest_seconds < made.retry.first_seconds:
        raise InvalidOptionError(f"{where}retry: longest_seconds is less than first_seconds")
    if len(made.models.weights) not in (0, max(1, len(made.models.model))):
        raise InvalidOptionError(f"{where}models: expected weights for each model, or none")
    return made


def _check_one_of(part: Receive | Send, place: str, *, both: bool) -> None:
    keys = [name for name in ("dicom", "dicomweb") if getattr(part, name) is not None]
    if not keys:
        raise InvalidOptionError(f"{place}: expected the key 'dicom' or 'dicomweb'")
    if len(keys) > 1 and not both:
        raise InvalidOptionError(f"{place}: expected one of 'dicom' and 'dicomweb', but found both")


def _check_listener(listener: DicomListener, place: str) -> None:
    _check_title(listener.ae_title, f"{place}.ae_title")
    if not listener.peers:
        raise InvalidOptionError(f"{place}.peers: expected at least one peer; nobody else may send")
    for n, peer in enumerate(listener.peers):
        _check_title(peer.ae_title, f"{place}.peers[{n}].ae_title")
        if not peer.addresses:
            raise InvalidOptionError(f"{place}.peers[{n}].addresses: expected addresses or networks")
        for address in peer.addresses:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                message = f"{place}.peers[{n}].addresses: expected an IP address or network such as 10.1.2.0/24"
                raise InvalidOptionError(f"{message}, but found {address!r} ({error})") from error
    _check_tls(listener.tls, f"{place}.tls", certificate=True)
    _check_network(listener.address, listener.tls, listener.plain_network, place)


def _check_archive(archive: DicomArchive, place: str) -> None:
    _check_title(archive.ae_title, f"{place}.ae_title")
    _check_title(archive.calling_ae_title, f"{place}.calling_ae_title")
    _check_tls(archive.tls, f"{place}.tls")
    _check_network(archive.address, archive.tls, archive.plain_network, place)


def _check_url(web: WebSource | WebArchive, place: str) -> None:
    parts = urlsplit(web.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOptionError(
            f"{place}.url: expected a URL such as https://archive/dicom-web, but found {web.url!r}"
        )
    if parts.username or parts.password:
        raise InvalidOptionError(f"{place}.url: expected no password in a URL; write user:password into a login_file")
    _check_tls(web.tls, f"{place}.tls")
    if web.login_file is not None:
        _check_private(web.login_file, f"{place}.login_file")
    if parts.scheme == "http":
        _check_network(parts.hostname, None, web.plain_network, place)


def _check_title(title: str, place: str) -> None:
    plain = title.isascii() and title.isprintable() and "\\" not in title
    if not plain or not title.strip() or len(title) > LONGEST_TITLE:
        raise InvalidOptionError(f"{place}: expected 1 to {LONGEST_TITLE} ASCII characters, but found {title!r}")


def _check_tls(tls: Tls | None, place: str, *, certificate: bool = False) -> None:
    if tls is None:
        return
    for name in ("authority", "certificate", "key"):
        file = getattr(tls, name)
        if file is None and certificate:
            raise InvalidOptionError(f"{place}: expected the key {name!r}: a server needs a certificate of its own")
        if file is not None and not file.is_file():
            raise MissingInputError(f"{place}.{name}: there is no file {file}")
    if (tls.certificate is None) != (tls.key is None):
        raise InvalidOptionError(f"{place}: expected 'certificate' and 'key', or neither")
    if tls.key is not None:
        _check_private(tls.key, f"{place}.key")


def _check_private(file: Path, place: str) -> None:
    if not file.is_file():
        raise MissingInputError(f"{place}: there is no file {file}")
    if file.stat().st_mode & 0o077:
        raise InvalidOptionError(f"{place}: other users can read {file}; run chmod 600 on it")


def _check_network(address: str, tls: Tls | None, plain_network: bool, place: str) -> None:
    if tls is None and not plain_network and not is_loopback(address):
        message = f"{place}: {address} is not this machine alone, and patients' names would travel unencrypted"
        raise InvalidOptionError(f"{message}; add tls, or plain_network: true where the network is trusted")


def is_loopback(address: str) -> bool:
    """Whether an address or a name is this machine's own, and reachable from here alone."""
    try:
        addresses = {str(one[4][0]) for one in socket.getaddrinfo(address, None)}
    except (OSError, UnicodeError):
        return False  # a name that is not known now may be anybody's later
    return bool(addresses) and all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses)


def _absolute(part: Configuration, root: Path) -> Configuration:
    """The configuration with all paths absolute."""

    def resolved(value: object) -> object:
        if isinstance(value, Path):
            return root / value
        if isinstance(value, tuple):
            return tuple(map(resolved, value))
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{one.name: resolved(getattr(value, one.name)) for one in fields(value)})
        return value

    made = resolved(part)
    assert isinstance(made, Configuration)
    return made
