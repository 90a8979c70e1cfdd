from pathlib import Path

import pytest

from monai_spine.bundle import shipped
from monai_spine.errors import InvalidOptionError


def test_a_copy_leaves_behind_what_runs_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundles/mine"
    for name in ("configs/metadata.json", "models/model.pt", "models/latest.pt", "models/previous.pt", "eval/a.csv"):
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text('{"version": "1", "trained_on": "phantom"}')
    (bundle / "models/.model.pt.7.partial").touch()
    monkeypatch.setattr(shipped, "BUNDLES", tmp_path / "bundles")
    copy = shipped.copy_bundle("mine", tmp_path / "out")
    assert sorted(path.name for path in copy.rglob("*") if path.is_file()) == ["metadata.json", "model.pt"]
    with pytest.raises(InvalidOptionError, match="exists"):
        shipped.copy_bundle("mine", tmp_path / "out")
    with pytest.raises(InvalidOptionError, match="did you mean 'mine'"):
        shipped.copy_bundle("mines", tmp_path / "other")
