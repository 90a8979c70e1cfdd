from pathlib import Path

import pytest

from monai_spine.experiments import fold_run
from monai_spine.experiments.fold_run import FoldRun, digest, fold_settings, prefixed, read_state, write_state
from tests.bundles.runs import ROOT

BUNDLE = ROOT / "bundles/lumbar_25d_grader"


def test_a_datalist_of_another_name_is_a_setting_of_its_own() -> None:
    usual, other = (dict(fold_settings(BUNDLE, Path("d") / name, 2, Path("r"))) for name in ("datalist.json", "x.json"))
    assert usual.items() >= {"fold": "2", "bundle_root": "r", "dataset_dir": "d"}.items()
    assert "datalist" not in usual
    assert Path(other["datalist"]) == Path("d/x.json")


def test_settings_of_a_trainings_start_are_none_of_the_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, set[str]] = {}

    def note(step: str, _: object, settings: fold_run.Settings, *__: object, **___: object) -> None:
        given[step] = {name for name, _ in settings}

    monkeypatch.setattr(fold_run, "run_step", note)
    datalist = tmp_path / "datalist.json"
    datalist.write_text("{}")
    run = FoldRun((), (("start#channels_last", "True"), ("batch_size", "2")), BUNDLE, datalist, 0, tmp_path / "run")
    run.train(lambda _: None)
    run.evaluate()
    assert given["training"] >= {"start#channels_last", "batch_size"}
    assert "batch_size" in given["evaluation"]
    assert "start#channels_last" not in given["evaluation"]


def test_a_digest_changes_with_every_file_and_value(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a")
    other.write_text("b")
    digests = [digest([one], 1), digest([one], 2), digest([other], 1), digest([one, other], 1), digest([one], 1, None)]
    assert len(set(digests)) == len(digests)
    assert digest([one], 1, ("a", "b")) == digest([one], 1, ["a", "b"])


def test_a_state_comes_back_and_a_damaged_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert read_state(path) == {}
    write_state(path, trained=True, fingerprint="x")
    assert read_state(path) == {"trained": True, "fingerprint": "x"}
    for damaged in ("{", "[1]", ""):
        path.write_text(damaged)
        assert read_state(path) == {}


def test_lines_get_a_prefix() -> None:
    lines: list[str] = []
    prefixed(lines.append, "[1/2] ")("starts")
    assert lines == ["[1/2] starts"]
