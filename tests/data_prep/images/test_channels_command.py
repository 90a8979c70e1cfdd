from pathlib import Path

import pytest
from PIL import Image

from data_prep.images.folders import NamePattern
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.images.data.datalist import read_image_datalist
from monai_spine.images.data.pixels import Mode, read_image
from tests.data_prep.images.picture_sets import picture
from tests.data_prep.images.test_folders_command import prepare

CELLS = ("--pattern", "{sample}_{channel}.png", "--channels", "nucleus,microtubules,er", "--folds", 2)


def cells(root: Path, folders: tuple[str, ...] = ("HEK 293", "U-2 OS"), samples: int = 3) -> Path:
    for n, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for sample in range(samples):
            for k, channel in enumerate(("er", "microtubules", "nucleus")):
                seed = 9 * n + 3 * sample + k
                Image.fromarray(picture(seed)).save(root / folder / f"cell_{n}{sample}_{channel}.png")
    return root


def test_files_of_a_sample_are_its_channels_in_the_order_given(tmp_path: Path) -> None:
    data = cells(tmp_path / "cells")
    (data / "U-2 OS" / "overview.png").write_bytes((data / "U-2 OS/cell_10_er.png").read_bytes())
    prepare("channels", data, tmp_path / "out", *CELLS)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    assert (datalist.classes, datalist.channels) == (("HEK 293", "U-2 OS"), ("nucleus", "microtubules", "er"))
    assert len(datalist.training) == 6
    for record in datalist.training:
        assert [Path(file).stem.rpartition("_")[2] for file in record["image"]] == list(datalist.channels)
        assert len({Path(file).stem.rpartition("_")[0] for file in record["image"]}) == 1
        assert read_image(record["image"], Mode.COLOUR).shape == (3, 64, 64)


def test_labels_may_come_from_a_table(tmp_path: Path) -> None:
    data = cells(tmp_path / "cells", folders=("plate 1", "plate 2"), samples=2)
    table = tmp_path / "train.csv"
    table.write_text("file_id,cell_line\ncell_00,A\ncell_01,B\ncell_10,A\ncell_11,B\n")
    named = ("--labels", table, "--sample-column", "file_id", "--label-column", "cell_line")
    prepare("channels", data, tmp_path / "out", *CELLS, *named)
    datalist = read_image_datalist(tmp_path / "out/datalist.json")
    told = {Path(r["image"][0]).stem[:7]: datalist.classes[r["label"]] for r in datalist.training}
    assert told == {"cell_00": "A", "cell_01": "B", "cell_10": "A", "cell_11": "B"}


def test_samples_without_all_channels_are_listed_or_left_out(tmp_path: Path) -> None:
    data = cells(tmp_path / "cells")
    (data / "HEK 293/cell_00_er.png").unlink()
    with pytest.raises(MissingInputError, match="cell_00: no er"):
        prepare("channels", data, tmp_path / "out", *CELLS)
    assert prepare("channels", data, tmp_path / "out", *CELLS, "--skip-missing")[0] == 3
    assert len(read_image_datalist(tmp_path / "out/datalist.json").training) == 5


def test_channels_of_different_sizes_are_refused(tmp_path: Path) -> None:
    data = cells(tmp_path / "cells")
    Image.fromarray(picture(1, 32)).save(data / "HEK 293/cell_00_er.png")
    assert prepare("channels", data, tmp_path / "out", *CELLS)[0] == 3
    assert "expected 64 x 64 pixels as its first channel" in (tmp_path / "out/report.json").read_text()


def test_no_file_that_fits_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidTableError, match="none of 18 images fits"):
        prepare("channels", cells(tmp_path / "c"), tmp_path / "out", *CELLS[:1], "{sample}-{channel}.png", *CELLS[2:])


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{sample}_{channel}.png", "a/x_1_er.png", {"sample": "x_1", "channel": "er"}),
        ("{sample}_{channel}.png", "x_er_er.PNG", {"sample": "x_er", "channel": "er"}),
        ("{channel}/{sample}.*", "plate/er/x.tif", {"sample": "x", "channel": "er"}),
        ("{patient}-*{sample}_{channel}.png", "p1-s-9_er.png", {"patient": "p1", "sample": "9", "channel": "er"}),
        ("{sample}_{channel}.png", "x_dna.png", None),
        ("{sample}.[{channel}].png", "x.[er].png", {"sample": "x", "channel": "er"}),
    ],
)
def test_names_are_taken_apart(pattern: str, path: str, fields: dict | None) -> None:
    assert NamePattern(pattern, ["sample", "channel"], ["er", "mt"]).match(Path(path)) == fields


@pytest.mark.parametrize(
    "pattern", ["{sample}.png", "{sample}_{channel}_{sample}", "{sample}_{channel}_{well}", "{sample"]
)
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidOptionError, match="expected a pattern"):
        NamePattern(pattern, ["sample", "channel"], ["er"])
