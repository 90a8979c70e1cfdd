"""The contact sheet: one HTML file with a card for each suspicious label, that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_spine import __version__
from monai_spine.console import track
from monai_spine.spine import Grade, Group
from monai_spine.tables.audit.crop import NoCropError, crop_of_files
from monai_spine.tables.audit.suspicion import Suspect, ThresholdRow

NO_DATALIST = "pictures need --datalist"

_NOTICE = "Research software, not a medical device: not for diagnosis."


@dataclass(frozen=True)
class Card:
    """A suspect with its picture in a ``data:`` address, or with the reason why there is none."""

    suspect: Suspect
    picture: str
    reason: str


def cards(
    found: Sequence[Suspect], entries: Mapping[str, Mapping[str, Any]], folder: Path, quiet: bool = False
) -> list[Card]:
    """A card for each suspect.

    Parameters
    ----------
    entries
        Of a datalist, by study, with paths relative to ``folder``; empty without a datalist.
    """
    return [_card(one, entries, folder) for one in track(found, "pictures", len(found), quiet)]


def sheet(  # noqa: PLR0917 - what the page shows
    shown: Sequence[Card], found: int, threshold: float, table: Sequence[ThresholdRow], studies: int, labels: int
) -> str:
    """The page's HTML.

    Parameters
    ----------
    found
        How many suspects there are, of which ``shown`` are the first.
    """
    environment = Environment(
        loader=PackageLoader("monai_spine.tables.audit"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("sheet.html").render(
        cards=shown,
        found=found,
        threshold=threshold,
        table=table,
        studies=studies,
        labels=labels,
        grades=list(Grade),
        groups=list(Group),
        notice=_NOTICE,
        version=__version__,
    )


def _card(one: Suspect, entries: Mapping[str, Mapping[str, Any]], folder: Path) -> Card:
    if one.study_id not in entries:
        return Card(one, "", NO_DATALIST)
    entry = entries[one.study_id]
    point = entry.get("points", {}).get(one.finding.name)
    if point is None:
        return Card(one, "", "no point in the datalist")
    files = [folder / file for file in entry.get(one.finding.condition.series_type.value, [])]
    try:
        return Card(one, crop_of_files(files, point), "")
    except NoCropError as reason:
        return Card(one, "", str(reason))
