"""The metadata of every shipped bundle: MONAI's schema, and what they say of the network."""

import json
from pathlib import Path

import jsonschema
import pytest
from monai.bundle import verify_net_in_out

from tests.bundles.runs import ROOT

BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
SCHEMA = json.loads((Path(__file__).parent / "metadata_schema.json").read_text())


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_metadata_meets_the_schema_of_monai(bundle: Path) -> None:
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    jsonschema.validate(metadata, SCHEMA)
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_the_network_takes_and_gives_what_the_metadata_says(bundle: Path) -> None:
    meta, config = (str(bundle / "configs" / name) for name in ("metadata.json", "inference.json"))
    verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, device="cpu")
