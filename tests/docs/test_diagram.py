"""Pictures drawn from text."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "site_tools"))

import diagram  # noqa: E402

TEXT = """
[a] first | with words below
(b) second

[c] third

a -> c : words
b -> c
"""


def test_a_picture_is_whole_xml_with_a_box_for_each_line_and_an_arrow_for_each_arrow() -> None:
    root = ElementTree.fromstring(diagram.svg(TEXT))
    tags = [element.tag.split("}")[1] for element in root]
    assert (tags.count("rect"), tags.count("path")) == (1 + 3, 2)  # one rectangle is the background
    assert "with words below" in "".join(root.itertext())


def test_boxes_of_a_row_lie_beside_each_other_and_rows_below_each_other() -> None:
    rows, _ = diagram.read(TEXT)
    diagram.lay_out(rows)
    (a, b), (c,) = rows
    assert a.x + a.width < b.x
    assert a.y == b.y
    assert c.y > a.y + a.height


@pytest.mark.parametrize(("text", "message"), [("[a] x\na -> b", "no boxes"), ("a box", "expected")])
def test_what_is_no_diagram_is_named(text: str, message: str) -> None:
    with pytest.raises(diagram.DiagramError, match=message):
        diagram.svg(text)


@pytest.mark.parametrize("source", sorted(DOCS.rglob("*.diagram")), ids=lambda path: path.stem)
def test_the_stored_pictures_are_those_of_their_texts(source: Path) -> None:
    """If not: python docs/site_tools/diagram.py."""
    assert source.with_suffix(".svg").read_text(encoding="utf-8") == diagram.svg(source.read_text(encoding="utf-8"))


def test_folders_in_the_pictures_are_there() -> None:
    text = "".join(path.read_text() for path in DOCS.rglob("*.diagram"))
    folders = re.findall(r"\] (?:(monai_spine|data_prep)/(\w+)(?:, (\w+))?)", text)
    assert folders
    lost = [
        (root, name) for root, *names in folders for name in names if name and not (DOCS.parent / root / name).exists()
    ]
    assert lost == []
