"""The metadata of every shipped bundle: the model zoo's schema, and what they say of the network."""

import json
from pathlib import Path

import jsonschema
import pytest
from monai.bundle import verify_net_in_out

from tests.bundles.runs import ROOT

BUNDLES = sorted((ROOT / "bundles").iterdir())
SCHEMA = ROOT.parent / "shared" / "data" / "bundle_schemas" / "meta_schema_20240725.json"


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_metadata_meets_the_zoos_schema(bundle: Path) -> None:
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    if not SCHEMA.is_file():
        pytest.skip(f"the schema is not at {SCHEMA}")
    jsonschema.validate(metadata, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_the_network_takes_and_gives_what_the_metadata_says(bundle: Path) -> None:
    meta, config = (str(bundle / "configs" / name) for name in ("metadata.json", "inference.json"))
    verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, device="cpu")
