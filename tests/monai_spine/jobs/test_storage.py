from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.jobs import storage
from monai_spine.jobs.storage import bucket_url, copy_to_disk, mounted, require_url

NAMES = st.lists(st.text(st.characters(categories=["Ll", "Nd"]), min_size=1), min_size=1, max_size=4).map("/".join)


@given(name=NAMES)
def test_a_mounted_url_comes_back(name: str) -> None:
    assert mounted(f"gs://{name}") == f"/gcs/{name}"
    assert bucket_url(mounted(f"gs://{name}")) == f"gs://{name}"
    assert mounted(f"gs://{name}", "/elsewhere/") == f"/elsewhere/{name}"


@pytest.mark.parametrize("text", ["/data/nifti", "s3://b/x", "nifti", "/gcsfuse/x"])
def test_other_places_stay_as_they_are(text: str) -> None:
    assert mounted(text) == bucket_url(text) == text


@pytest.mark.parametrize("url", ["s3://b/x", "gs://", "gs:///", "/gcs/b", "b/x"])
def test_a_url_of_another_scheme_or_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"Vertex: expected --data as gs://bucket/folder, but found"):
        require_url(url, "gs", "--data", "Vertex")


@pytest.fixture(params=["folder", "memory"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A data set in a folder, and one in an object store."""
    place = str(tmp_path / "source") if request.param == "folder" else f"memory://{tmp_path.name}/nifti"
    system, root = fsspec.core.url_to_fs(place)
    for name, content in (("datalist.json", b"{}"), ("1/a.nii.gz", b"aaaa")):
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{root}/{name}", content)
    return place


def test_a_copy_has_the_files_and_a_second_one_copies_what_is_missing(source: str, tmp_path: Path) -> None:
    copy = copy_to_disk(source, tmp_path / "scratch")
    files = {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert files == {"datalist.json": b"{}", "1/a.nii.gz": b"aaaa"}
    kept = (copy / "datalist.json").stat().st_mtime_ns
    (copy / "1/a.nii.gz").write_bytes(b"a")  # as a killed copy would not leave it, but another program may
    copy_to_disk(source, copy)
    assert (copy / "1/a.nii.gz").read_bytes() == b"aaaa"
    assert (copy / "datalist.json").stat().st_mtime_ns == kept


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"expected a data set in .* but found no files"):
        copy_to_disk(str(tmp_path / "nothing"), tmp_path / "scratch")


def test_a_disk_that_is_too_small_is_named_before_anything_is_copied(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = storage.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage._replace(free=3))
    with pytest.raises(InvalidOptionError, match="--disk-gb"):
        copy_to_disk(source, tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_store_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="nosuch://x cannot be read"):
        copy_to_disk("nosuch://x", tmp_path)
