"""Who gets in, and what a hostile peer may do: nothing for long."""

import contextlib
import datetime
import gc
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry

from monai_spine.errors import InvalidOptionError
from monai_spine.service.admission import Admission
from monai_spine.service.configuration import DicomListener, Limits, Peer, Tls
from monai_spine.service.peer_limits import LimitedSocket
from monai_spine.service.receiver import Receiver
from monai_spine.service.tls import client_context, server_context
from tests.monai_spine.service.parts import QUICK, image, send, until

LISTENER = DicomListener((Peer("PACS", ("127.0.0.1",)), Peer("OTHER", ("10.0.0.0/8", "::1"))), port=0)
Said = list[tuple[str, str]]


@contextlib.contextmanager
def listening(limits: Limits = QUICK, listener: DicomListener = LISTENER) -> Iterator[tuple[int, Said, list[str]]]:
    """The port, what was counted, and the instances that were stored."""
    said: Said = []
    stored: list[str] = []

    def store(file: Path, study_uid: str, instance_uid: str) -> int:
        stored.append(instance_uid)
        return 0

    receiver = Receiver(listener, limits, store, lambda event, word: said.append((event, word)))
    port = receiver.start()
    try:
        yield port, said, stored
    finally:
        receiver.stop(1)


def request(pdu_length: int | None = None) -> bytes:
    """An association request as bytes: Verification alone, from PACS."""
    context = item(0x20, bytes([1, 0, 0, 0]) + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2"))
    user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))
    body = struct.pack(">HH", 1, 0) + b"MONAI_SPINE     " + b"PACS            " + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BBL", 1, 0, len(body) if pdu_length is None else pdu_length) + body


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def ends_within(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side closes the connection."""
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_only_listed_titles_from_their_own_addresses_get_in() -> None:
    with listening() as (port, said, stored):
        assert send(port, image()) == [0]
        assert send(port, image(), calling="STRANGER") == []
        assert send(port, image(), calling="OTHER") == []  # on the list, but not from here
        assert send(port, image(), called="SOMEBODY") == []
        assert len(stored) == 1
        assert said.count(("refused", "ae_title")) == 2


def test_associations_that_ended_are_let_go() -> None:
    def kept() -> int:
        gc.collect()
        return sum(
            type(one) is LimitedSocket for one in gc.get_objects()
        )  # isinstance would ask proxies of other libraries

    before = kept()
    with listening() as (port, _, stored):
        for _ in range(3):
            assert send(port, image()) == [0]
        assert len(stored) == 3
        until(lambda: kept() == before)


@pytest.mark.parametrize(
    ("address", "welcome"),
    [("10.9.8.7", True), ("::ffff:10.9.8.7", True), ("::1", True), ("11.0.0.1", False), ("fe80::1%eth0", False)],
)
def test_addresses_are_compared_as_addresses(address: str, welcome: bool) -> None:
    admission = Admission(LISTENER.peers, Limits())
    assert (admission.refuses_connection(address, []) == "") is welcome
    assert admission.refuses_association("OTHER", address) is not welcome
    assert admission.refuses_association("PACS", address)


def test_an_address_that_is_not_listed_is_closed_before_a_byte_is_read() -> None:
    nobody = replace(LISTENER, peers=(Peer("PACS", ("192.0.2.1",)),))
    with listening(listener=nobody) as (port, said, _), socket.create_connection(("127.0.0.1", port)) as one:
        assert ends_within(one, 3)
        assert said == [("refused", "address")]


def test_connections_are_limited_by_rate_and_number() -> None:
    clock = [0.0]
    limits = replace(Limits(), connections_per_minute=2, associations_per_address=2, associations=3)
    admission = Admission([Peer("A", ("10.0.0.0/8",))], limits, lambda: clock[0])
    assert [admission.refuses_connection("10.0.0.1", []) for _ in range(3)] == ["", "", "rate"]
    clock[0] = 61
    assert admission.refuses_connection("10.0.0.1", ["10.0.0.1"] * 2) == "associations_per_address"
    assert admission.refuses_connection("10.0.0.2", ["10.0.0.1"] * 3) == "associations"
    with admission.shaking("10.0.0.3"), admission.shaking("10.0.0.3"):
        assert admission.refuses_connection("10.0.0.3", []) == "associations_per_address"
    assert admission.refuses_connection("10.0.0.3", []) == ""


def test_more_associations_than_an_address_may_have_are_closed_and_the_first_ones_stay() -> None:
    with listening(replace(QUICK, associations_per_address=2)) as (port, said, _):
        first = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for one in first:
            one.sendall(request())
            assert one.recv(1) == b"\x02"  # accepted
        with socket.create_connection(("127.0.0.1", port)) as third:
            assert ends_within(third, 3)
        assert ("refused", "associations_per_address") in said
        for one in first:
            one.close()


@pytest.mark.parametrize(
    "sent",
    [b"", b"\x01", request()[:40], request()[:-1]],
    ids=["nothing", "one byte", "a half request", "all but a byte"],
)
def test_a_peer_that_stops_in_the_middle_of_its_request_is_dropped(sent: bytes) -> None:
    with listening(replace(QUICK, handshake_seconds=0.5)) as (port, _, _):
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(sent)
            assert ends_within(one, 5)
        assert send(port, image()) == [0]


def test_a_peer_that_sends_a_byte_now_and_then_is_dropped() -> None:
    limits = replace(QUICK, message_seconds=1.0, handshake_seconds=1.0)
    with listening(limits) as (port, said, _), socket.create_connection(("127.0.0.1", port)) as one:
        one.sendall(request())
        assert one.recv(1) == b"\x02"
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in struct.pack(">BBL", 4, 0, 20000) + bytes(100):  # each byte alone is in time
                one.sendall(bytes([byte]))
                time.sleep(0.2)
        assert time.monotonic() - begin < 10
        assert ("refused", "message_seconds") in said


@pytest.mark.parametrize("length", [0xFFFFFFFF, 10_000_000])
def test_a_pdu_that_announces_too_much_is_not_read(length: int) -> None:
    with listening() as (port, said, _):
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(request(length))
            assert ends_within(one, 3)
        assert ("refused", "pdu_bytes") in said
        assert send(port, image()) == [0]


def test_an_object_beyond_the_limit_is_cut_off_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with listening(replace(QUICK, object_mb=0.2)) as (port, said, stored):
        large = image()
        large.private_block(0x0009, "TESTS", create=True).add_new(1, "OB", bytes(2_000_000))
        assert send(port, large, image(number=2)) != [0, 0]
        until(lambda: ("refused", "object_mb") in said)
        assert stored == []
        assert send(port, image(number=3)) == [0]


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(200), b"\x07" + bytes(9), b"\xff" * 3000])
def test_garbage_ends_one_connection_alone(garbage: bytes) -> None:
    with listening(replace(QUICK, handshake_seconds=1)) as (port, _, _):
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(garbage)
            assert ends_within(one, 5)
        assert send(port, image()) == [0]


def test_objects_without_uids_are_refused() -> None:
    with listening() as (port, _, stored):
        nameless = image()
        del nameless.StudyInstanceUID
        other = image(number=2)
        other.file_meta.MediaStorageSOPInstanceUID = "1.2.9"
        assert send(port, nameless) == [0xA900]
        assert stored == []


class Certificates:
    """An authority, and certificates of it and of a stranger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("authority", "stranger"):
            self._make(name, name, issuer=None)
        self._make("server", "localhost", "authority")
        self._make("client", "pacs", "authority")
        self._make("intruder", "pacs", "stranger")

    def tls(self, name: str) -> Tls:
        return Tls(self.folder / "authority.pem", self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def _make(self, file: str, common_name: str, issuer: str | None) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        signer, issued_by = key, subject
        if issuer is not None:
            signer = serialization.load_pem_private_key((self.folder / f"{issuer}.key").read_bytes(), None)
            issued_by = x509.load_pem_x509_certificate((self.folder / f"{issuer}.pem").read_bytes()).subject
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issued_by).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.DNSName(common_name)])
        made = builder.add_extension(names, critical=False).sign(signer, hashes.SHA256())
        pem = serialization.Encoding.PEM
        (self.folder / f"{file}.pem").write_bytes(made.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / f"{file}.key").write_bytes(private)
        (self.folder / f"{file}.key").chmod(0o600)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_tls_lets_in_certificates_of_the_authority_alone(certificates: Certificates) -> None:
    listener = replace(LISTENER, tls=certificates.tls("server"))
    intruder = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    intruder.load_verify_locations(certificates.folder / "authority.pem")
    nobody = client_context(Tls(certificates.folder / "authority.pem"))
    intruder.load_cert_chain(certificates.folder / "intruder.pem", certificates.folder / "intruder.key")
    with listening(replace(QUICK, handshake_seconds=2), listener) as (port, said, stored):
        with socket.create_connection(("127.0.0.1", port)):  # says nothing, and holds nobody up
            assert send(port, image(), tls=client_context(certificates.tls("client"))) == [0]
        assert send(port, image(), tls=intruder) == []
        assert send(port, image(), tls=nobody) == []
        assert send(port, image()) == []
        assert len(stored) == 1
        until(lambda: said.count(("refused", "tls")) >= 3)


def test_files_that_are_no_certificates_are_one_error(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    for wrong in (
        replace(certificates.tls("server"), certificate=tmp_path / "text.pem"),
        replace(certificates.tls("server"), key=certificates.folder / "client.key"),
        replace(certificates.tls("server"), authority=tmp_path / "text.pem"),
    ):
        with pytest.raises(InvalidOptionError, match="expected certificates and a key in PEM that belong together"):
            server_context(wrong)


def test_counts_are_known_metrics() -> None:
    from monai_spine.service.metrics import Metrics

    class Nothing:
        used = free = 0

        def counts(self) -> dict:
            return {}

        def studies(self, *states: object) -> list:
            return []

    metrics = Metrics(Nothing(), Nothing())
    for event, word in (("association", ""), ("refused", "tls"), ("sent", ""), ("send_failed", "")):
        metrics.count(event, word)
    assert isinstance(metrics.registry, CollectorRegistry)
    assert metrics.registry.get_sample_value("monai_spine_refused_total", {"rule": "tls"}) == 1
