"""What every shipped bundle says of itself."""

import json
from pathlib import Path

import jsonschema
import pytest

from tests.bundles.runs import ROOT

SCHEMA = json.loads((Path(__file__).parent / "metadata_schema.json").read_text())
METADATA = sorted(ROOT.glob("bundles/*/configs/metadata.json"))


@pytest.mark.parametrize("path", METADATA, ids=lambda path: path.parts[-3])
def test_metadata_meets_the_schema_of_monai(path: Path) -> None:
    metadata = json.loads(path.read_text())
    jsonschema.validate(metadata, SCHEMA)
    assert metadata["version"] in metadata["changelog"]
