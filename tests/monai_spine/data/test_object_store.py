from pathlib import Path
from types import SimpleNamespace

import pytest

from monai_spine.data.object_store import ObjectStore, shown, url_of
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError, TransientError


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty folder of a store in memory."""
    return f"memory://{tmp_path.name}"


@pytest.mark.parametrize("text", ["s3://b/x", "gs://b/x/", "memory://b", "s3://b/a b/ü"])
def test_a_url_that_a_command_got_as_a_path_is_the_url_again(text: str) -> None:
    assert url_of(Path(text)) == text.rstrip("/")


@pytest.mark.parametrize("text", ["nifti", "/data/nifti", "a:b", "C:/data", "file:///data", "x/s3://b"])
def test_paths_are_no_urls(text: str) -> None:
    assert url_of(Path(text)) is None


def test_files_come_back_and_only_those_below_a_folder_are_listed(url: str, tmp_path: Path) -> None:
    (tmp_path / "from/a").mkdir(parents=True)
    for name, content in (("a/1", b"one"), ("2", b"")):
        (tmp_path / "from" / name).write_bytes(content)
    store = ObjectStore(url)
    assert store.files() == {}
    store.store(["a/1", "2"], tmp_path / "from")
    assert {name: file.size for name, file in store.files().items()} == {"a/1": 3, "2": 0}
    assert set(store.files("a")) == {"a/1"}
    store.fetch(["a/1"], tmp_path / "to")
    assert (tmp_path / "to/a/1").read_bytes() == b"one"
    store.remove(["a/1"])
    assert set(store.files()) == {"2"}
    assert ObjectStore(f"{url}/2").is_file()
    assert not store.is_file()


def test_a_name_that_leads_out_of_the_folder_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(url)
    root = store._root
    monkeypatch.setattr(type(store._system), "find", lambda *_, **__: {f"{root}/a/../../x": {"size": 1}})
    with pytest.raises(InvalidOptionError, match=r"'a/../../x' that leads out of the folder"):
        store.files()


def test_what_is_not_there_is_one_line_with_the_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=f"{url}: there is no ") as caught:
        ObjectStore(url).fetch(["nothing"], tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_store_that_refuses_is_one_line_without_the_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(url)
    store.url = "ftp://me:secret@host/x"

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied\nfor ftp://me:secret@host/x")

    monkeypatch.setattr(type(store._system), "find", refuse)
    with pytest.raises(SpineError, match=r"ftp://host/x cannot be listed: .*Access Denied.*credentials") as caught:
        store.files()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scheme_without_a_package_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="nosuch://x cannot be read"):
        ObjectStore("nosuch://x")


def test_a_password_is_not_shown() -> None:
    assert shown("s3://key:secret@b/x") == "s3://b/x"
    assert shown("s3://b/x@y") == "s3://b/x@y"


class ConnectTimeoutError(Exception):
    """Named as that of botocore, which is no `OSError`."""


@pytest.mark.parametrize(
    ("error", "passing"),
    [(TimeoutError(), True), (ConnectTimeoutError(), True), (OSError("SlowDown"), True), (PermissionError(), False)],
)
def test_a_store_that_is_busy_is_worth_another_run_but_not_one_that_forbids(
    error: Exception, passing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    store = ObjectStore("memory://bucket")
    monkeypatch.setattr(store, "_system", SimpleNamespace(isfile=fail))
    with pytest.raises(SpineError, match="memory://bucket cannot be read") as caught:
        store.is_file()
    assert isinstance(caught.value, TransientError) == passing
