"""Every bundle in the manner of the model zoo: what ``ci/verify_bundle.py`` calls, and the zoo's forms of files."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export, verify_metadata, verify_net_in_out

from monai_spine.bundle.shipped import BUNDLES
from monai_spine.crops.view import ABSENT

NAMES = sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/metadata.json"))
SCHEMA = json.loads((Path(__file__).parent / "metadata_schema.json").read_text())
SECTIONS = (
    *("Model Overview", "Data", "Training configuration", "Performance", "MONAI Bundle Commands"),
    *("References", "License"),
)


def metadata_of(bundle: Path) -> dict:
    return json.loads((bundle / "configs/metadata.json").read_text())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of all bundles; those without weights get those of a network that has just been built."""
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        shutil.copytree(BUNDLES / name, folder / name, ignore=shutil.ignore_patterns("eval", "cache"))
        path = folder / name / "models/model.pt"  # without a model.json: the network is then the metadata's
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            torch.save(network_of(folder / name).state_dict(), path)
    return folder


def network_of(bundle: Path) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs/inference.json"))
    parser["bundle_root"] = str(bundle)
    return parser.get_parsed_content("network_def").eval()


def arguments(bundle: Path) -> dict[str, str]:
    """What the zoo passes to each of MONAI's functions."""
    return {
        "net_id": "network_def",
        "meta_file": str(bundle / "configs/metadata.json"),
        "config_file": str(bundle / "configs/inference.json"),
        "bundle_root": str(bundle),
    }


def image_of(bundle: Path) -> torch.Tensor:
    """An input of the metadata's shape; numbers of pixels that are not fixed are 64."""
    described = metadata_of(bundle)["network_data_format"]["inputs"]["image"]
    shape = [n if isinstance(n, int) else 64 for n in described["spatial_shape"]]
    image = torch.rand(1, described["num_channels"], *shape, generator=torch.Generator().manual_seed(0))
    if bundle.name == "lumbar_25d_grader":
        image[0, 1] = ABSENT  # a level without slices takes another branch
    return image


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_meet_the_schema(
    name: str, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundles / name
    metadata = metadata_of(bundle)
    jsonschema.validate(metadata, SCHEMA)

    # The zoo fetches the schema by the address in the metadata; here it is a file of the tests.
    def local(url: str, filepath: str, **_: object) -> None:
        assert url == metadata["schema"]
        Path(filepath).write_text(json.dumps(SCHEMA))

    monkeypatch.setattr("monai.bundle.scripts.download_url", local)
    verify_metadata(meta_file=str(bundle / "configs/metadata.json"), filepath=str(tmp_path / "schema.json"))
    assert (tmp_path / "schema.json").is_file()
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize("name", NAMES)
def test_the_network_takes_and_gives_what_the_metadata_say(name: str, bundles: Path) -> None:
    verify_net_in_out(**arguments(bundles / name), device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_exported_to_torchscript(name: str, bundles: Path, tmp_path: Path) -> None:
    bundle, path = bundles / name, str(tmp_path / "model.ts")
    ckpt_export(**arguments(bundle), filepath=path, ckpt_file=str(bundle / "models/model.pt"))
    image = image_of(bundle)
    assert torch.allclose(torch.jit.load(path)(image), expected(bundle, image), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_exported_to_onnx(name: str, bundles: Path, tmp_path: Path) -> None:
    bundle, path = bundles / name, str(tmp_path / "model.onnx")
    image = image_of(bundle)
    where = {"filepath": path, "ckpt_file": str(bundle / "models/model.pt"), "input_shape": list(image.shape)}
    onnx_export(**arguments(bundle), **where)
    session = onnxruntime.InferenceSession(path)
    (answer,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert np.allclose(answer, expected(bundle, image).numpy(), atol=1e-3)


def expected(bundle: Path, image: torch.Tensor) -> torch.Tensor:
    network = network_of(bundle)
    network.load_state_dict(torch.load(bundle / "models/model.pt", weights_only=True))
    with torch.no_grad():
        return network(image)


@pytest.mark.parametrize("name", NAMES)
def test_every_channel_is_described(name: str) -> None:
    formats = metadata_of(BUNDLES / name)["network_data_format"]
    for described in (*formats["inputs"].values(), *formats["outputs"].values()):
        assert sorted(map(int, described["channel_def"])) == list(range(described["num_channels"]))


@pytest.mark.parametrize("name", NAMES)
def test_the_card_has_the_sections_of_the_zoo(name: str) -> None:
    headings = re.findall(r"^#+ (.+)$", (BUNDLES / name / "docs/README.md").read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_has_the_files_of_the_zoo(name: str) -> None:
    bundle = BUNDLES / name
    for file in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/metadata.json"):
        assert (bundle / file).read_text().strip(), file
    for config in ("train", "multi_gpu_train", "evaluate", "inference"):
        assert (bundle / f"configs/{config}.json").is_file(), config


SIZES = {
    "image_classifier": (45, 37),
    "lumbar_25d_grader": (46, 24),
    "lumbar_level_localizer": (33, 25),
    "lumbar_recess_localizer": (32, 23),
    "lumbar_unet_classifier": (38, 28),
}
"""Keys at the top of each ``train.json``, and ``$`` expressions in it, at most. The zoo has 16 to 29, and 19 to 30."""


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_one_object_uses_stands_in_that_object(name: str) -> None:
    """Otherwise the top of the configuration grows with every setting."""

    def expressions(value: object) -> int:
        if isinstance(value, dict | list):
            return sum(map(expressions, value.values() if isinstance(value, dict) else value))
        return isinstance(value, str) and value.startswith("$")

    config = json.loads((BUNDLES / name / "configs/train.json").read_text())
    keys, most = SIZES[name]
    assert len(config) <= keys
    assert expressions(config) <= most


@pytest.mark.parametrize("path", sorted(BUNDLES.glob("*/configs/**/*.json")), ids=lambda path: path.name)
def test_configs_are_indented_by_four(path: Path) -> None:
    """As `json.dumps` writes them, but that short lists and groups may stand on one line, as in the zoo."""
    for line in path.read_text().splitlines():
        indent = len(line) - len(line.lstrip(" "))
        assert indent % 4 == 0, line
        assert not line.lstrip(" ").startswith("\t"), line
        assert len(line) <= 120 or line.count('": ') <= 1, line  # a long line is one long text
