"""Every mistake in ``serve.yaml`` is one line that names the key; what is right comes back as it was written."""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from typer.testing import CliRunner

from monai_spine.commands.main import app
from monai_spine.errors import SpineError
from monai_spine.service.configuration import Configuration, is_loopback, read_configuration
from monai_spine.service.example import example_text

DOCS = Path(__file__).parents[3] / "docs"
RIGHT = """
folder: data
receive:
  dicom:
    peers: [{ae_title: PACS, addresses: [127.0.0.1, 10.1.0.0/16]}]
send:
  dicom: {ae_title: ARCHIVE, address: 127.0.0.1}
"""


def read(folder: Path, text: str) -> Configuration:
    (folder / "serve.yaml").write_text(text)
    return read_configuration(folder / "serve.yaml")


def test_what_is_written_comes_back_and_paths_are_those_of_the_file(tmp_path: Path) -> None:
    made = read(tmp_path, RIGHT + "study: {quiet_seconds: 5}\nmodels: {model: [mine], tta: flip}\n")
    assert made.folder == tmp_path / "data"
    assert made.receive.dicom is not None
    assert made.receive.dicom.address == "127.0.0.1"
    assert made.receive.dicom.peers[0].addresses == ("127.0.0.1", "10.1.0.0/16")
    assert made.study.quiet_seconds == 5
    assert made.models.options()["bundles"] == (tmp_path / "mine",)
    assert made.limits.associations == 16


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, example_text()).receive.dicom is not None
    known = {name for key in keys(Configuration) for name in re.findall(r"\w+", key)} | {"authority"}
    commented = re.findall(r"^ *# +([a-z_]+):", example_text(), re.MULTILINE)
    assert "dicomweb" in commented
    assert set(commented) <= known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.replace("folder", "foldr"), "unknown key 'foldr'; did you mean 'folder'?"),
        (lambda s: s.replace("peers", "pears"), r"receive.dicom: unknown key 'pears'; did you mean 'peers'"),
        (lambda s: s + "study: {quiet_seconds: soon}", "study.quiet_seconds: expected a number, but found 'soon'"),
        (lambda s: s + "study: {quiet_seconds: yes}", "expected a number, but found True"),
        (lambda s: s + "study: {quiet_seconds: -1}", "expected a number from 0.1 to 86400, but found -1"),
        (lambda s: s + "limits: {associations: 2.5}", "expected a whole number, but found 2.5"),
        (lambda s: s + "study: []", "study: expected keys such as 'quiet_seconds', but found []"),
        (lambda s: s + "folder: other", "is not YAML: the key 'folder' is there twice"),
        (lambda s: s + "\tstudy:", "is not YAML"),
        (lambda s: "just a text", "expected keys such as 'folder', but found 'just a text'"),
        (lambda s: "", "expected keys such as 'folder', but found None"),
        (lambda s: s.replace("folder: data", ""), "expected the key 'folder', but it is missing"),
        (lambda s: s.replace("PACS", "A" * 17), "peers[0].ae_title: expected 1 to 16 ASCII characters"),
        (lambda s: s.replace("PACS", "'a\\b'"), "expected 1 to 16 ASCII characters"),
        (lambda s: s.replace("10.1.0.0/16", "10.1.0.1/16"), "expected an IP address or network such as 10.1.2.0/24"),
        (lambda s: s.replace("10.1.0.0/16", "pacs.local"), "but found 'pacs.local'"),
        (lambda s: re.sub(r"\[\{.*\}\]", "[]", s), "expected at least one peer; nobody else may send"),
        (lambda s: s.replace("{ae_title: ARCHIVE, address: 127.0.0.1}", "{}"), "dicom: expected the key 'ae_title'"),
        (lambda s: re.sub(r"  dicom: \{ae.*", "  {}", s), "send: expected the key 'dicom' or 'dicomweb'"),
        (lambda s: s + "  dicomweb: {url: http://localhost/x}", "expected one of 'dicom' and 'dicomweb'"),
        (lambda s: s.replace("    peers", "    address: 0.0.0.0\n    peers"), "would travel unencrypted"),
        (lambda s: s.replace("ARCHIVE, address: 127.0.0.1", "A, address: 192.0.2.1"), "plain_network: true"),
        (lambda s: s.replace("    peers", "    tls: {authority: gone.pem}\n    peers"), "there is no file"),
        (lambda s: re.sub(r"  dicom: \{ae.*", "  dicomweb: {url: ftp://x}", s), "expected a URL such as https://"),
        (lambda s: re.sub(r"  dicom: \{ae.*", "  dicomweb: {url: http://u:p@localhost}", s), "no password in a URL"),
        (lambda s: re.sub(r"  dicom: \{ae.*", "  dicomweb: {url: http://192.0.2.1/x}", s), "unencrypted"),
        (lambda s: s + "retry: {first_seconds: 9, longest_seconds: 1}", "longest_seconds is less than first_seconds"),
        (lambda s: s + "models: {weights: [a, b]}", "expected weights for each model, or none"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line_that_names_the_key(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    with pytest.raises(SpineError, match=re.escape(message)) as error:
        read(tmp_path, change(RIGHT))
    assert "\n" not in str(error.value)


def test_files_with_secrets_must_be_private(tmp_path: Path) -> None:
    (tmp_path / "login.txt").write_text("me:secret")
    (tmp_path / "login.txt").chmod(0o644)
    text = re.sub(r"  dicom: \{ae.*", "  dicomweb: {url: http://localhost/x, login_file: login.txt}", RIGHT)
    with pytest.raises(SpineError, match="run chmod 600 on it"):
        read(tmp_path, text)
    (tmp_path / "login.txt").chmod(0o600)
    read(tmp_path, text)


@pytest.mark.parametrize(("address", "own"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("", False)])
def test_loopback_is_known(address: str, own: bool) -> None:
    assert is_loopback(address) is own


def keys(part: type, prefix: str = "") -> list[str]:
    """All keys of the configuration, as the reference writes them."""
    found = []
    hints = get_type_hints(part)
    for one in fields(part):  # type: ignore[arg-type]
        hint: Any = hints[one.name]
        name = f"{prefix}{one.name}"
        inner = next((kind for kind in (hint, *get_args(hint)) if kind is not NoneType and is_dataclass(kind)), None)
        if inner is None:
            found.append(name)
        elif inner.__name__ == "Tls" and not prefix.startswith("receive.dicom."):
            found.append(name)  # described once
        else:
            found += keys(inner, f"{name}[]." if "tuple" in str(hint) else f"{name}.")
    return found


def test_the_reference_lists_all_keys_and_no_others() -> None:
    page = (DOCS / "reference" / "serve.md").read_text()
    assert re.findall(r"^\| `([a-z_.\[\]]+)` \|", page.partition("## States")[0], re.M) == keys(Configuration)


def test_the_reference_lists_all_metrics() -> None:
    from monai_spine.service.metrics import Metrics
    from monai_spine.service.queued_study import State

    class Nothing:
        used = free = 0

        def counts(self) -> dict:
            return dict.fromkeys(State, 0)

        def studies(self, *states: object) -> list:
            return []

    names = {
        f"{one.name}{'_total' if one.type == 'counter' else ''}"
        for one in Metrics(Nothing(), Nothing()).registry.collect()  # type: ignore[arg-type]
        if one.name.startswith("monai_spine_")
    }
    page = (DOCS / "reference" / "serve.md").read_text().partition("## Metrics")[2]
    assert set(re.findall(r"^\| `(monai_spine_\w+)", page, re.M)) == names


def test_an_example_is_written_once(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    assert CliRunner().invoke(app, ["serve", "--config", str(config), "--example"]).exit_code == 0
    assert config.read_text() == example_text()
    again = CliRunner().invoke(app, ["serve", "--config", str(config), "--example"])
    assert "exists already" in str(again.exception)
