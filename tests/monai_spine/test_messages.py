"""Numbers in messages stand before the right form of their noun."""

import re
from pathlib import Path

import pytest

import data_prep
import monai_spine
from monai_spine.errors import counted

_NOUNS = "studies|files|images|volumes|stacks|epochs|groups|rows|folds|findings|trials|labels|slices|patients|frames"
_UNCOUNTED = re.compile(rf"\{{(?:len\([^{{}}]*\)|count|counts|number)\}} (?:{_NOUNS})\b")


def test_a_number_is_followed_by_the_form_of_its_noun() -> None:
    assert [counted(n, "study") for n in (0, 1, 2, 1200)] == ["0 studies", "1 study", "2 studies", "1,200 studies"]
    assert [counted(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]


@pytest.mark.parametrize("package", [data_prep, monai_spine])
def test_no_message_has_a_plural_behind_a_number_that_may_be_one(package: object) -> None:
    folder = Path(package.__file__).parent  # type: ignore[attr-defined]
    found = [
        f"{path.relative_to(folder)}: {match[0]}"
        for path in sorted(folder.rglob("*.py"))
        for match in _UNCOUNTED.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
