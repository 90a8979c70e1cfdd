import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from monai_spine import __version__
from monai_spine.scoring.competition import competition_score
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import TARGETS, Grade

STUDIES = [str(5_000_000_000 + n) for n in range(20)]
PARTS = {"score", "spinal", "foraminal", "subarticular", "any_severe_spinal"}


def spine(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from monai_spine.commands.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    labels, rows = rng.integers(0, 3, (20, 25)), rng.dirichlet([1, 1, 1], size=(20, 25))
    lines = [",".join(["study_id", *TARGETS])]
    lines += [",".join([study, *(Grade(g).title for g in row)]) for study, row in zip(STUDIES, labels, strict=True)]
    (folder / "train.csv").write_text("\n".join(lines))
    write_predictions(folder / "predictions.csv", STUDIES, rows)
    return folder / "train.csv", folder / "predictions.csv", competition_score(labels, rows).score


def test_score_prints_json_with_prior_and_uniform(tables: tuple[Path, Path, float]) -> None:
    solution, submission, expected = tables
    done = spine("score", solution, submission, "--json")
    figures = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert figures["score"] == pytest.approx(expected, rel=1e-6)
    assert set(figures) >= PARTS | {"prior", "uniform"}
    assert figures["prior"] < figures["uniform"]


def test_score_prints_a_table_for_people(tables: tuple[Path, Path, float]) -> None:
    done = spine("score", *tables[:2], "--prior-from", tables[0])
    assert done.returncode == 0
    assert f"{tables[2]:.4f}" in done.stdout
    assert "prior" in done.stdout
    assert "20 studies, 500 labelled rows" in done.stdout


def test_rows_that_were_filled_in_are_counted(tables: tuple[Path, Path, float], tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(tables[1].read_text().splitlines(keepends=True)[:-10]))
    assert json.loads(spine("score", tables[0], short, "--json", "--missing", "prior").stdout)["filled"] == 10


def test_labels_without_a_row_are_left_out_of_metrics_with_a_note(
    tables: tuple[Path, Path, float], tmp_path: Path
) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(tables[1].read_text().splitlines(keepends=True)[:-10]))
    done = spine("metrics", tables[0], short, "--json", "--quiet")
    assert json.loads(done.stdout)["left_out"] == 10
    assert "note: 10 labels without a row in any submission, left out: " in done.stderr


@pytest.mark.parametrize(
    "arguments", [("score", "no.csv", "no.csv"), ("score",), ("score", "a", "b", "--missing", "x")]
)
def test_bad_arguments_end_with_2_and_no_traceback(arguments: tuple[str, ...]) -> None:
    done = spine(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_missing_row_ends_with_2_and_one_line(tables: tuple[Path, Path, float], tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(tables[1].read_text().splitlines(keepends=True)[:-1]))
    done = spine("score", tables[0], short)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_part_without_labels_is_an_error_not_a_number(tables: tuple[Path, Path, float], tmp_path: Path) -> None:
    header, *rows = tables[0].read_text().splitlines()
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join([header, *(",".join([*row.split(",")[:6], *[""] * 20]) for row in rows)]))
    done = spine("score", bare, tables[1])
    assert done.returncode == 2
    assert "no label for foraminal, subarticular" in done.stderr


def test_version_is_the_packages() -> None:
    assert spine("--version").stdout.strip() == __version__


@pytest.mark.parametrize("arguments", [("--help",), ("score", "--help"), ("demo", "--help")])
def test_help_does_not_import_torch(arguments: tuple[str, ...]) -> None:
    run = "import sys; from monai_spine.commands.main import app; app(standalone_mode=False)"
    code = f"{run}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_help_answers_at_once() -> None:
    fastest = min(_seconds("--help") for _ in range(3))
    assert fastest < 2.0  # far above the 0.2 s measured: this catches an import of torch, not a busy machine


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    spine(*arguments)
    return time.perf_counter() - started
