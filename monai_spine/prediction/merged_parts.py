"""Joins the tables of parts into those of all studies, row by row, so that memory does not grow with their number."""

from __future__ import annotations

import csv
import hashlib
import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.errors import ExitCode, InvalidTableError, MissingInputError, counted, listed
from monai_spine.files import checksum, whole_file, write_text
from monai_spine.output_lock import output_lock
from monai_spine.prediction.part import PARTS, Part

SCHEMA = "monai_spine/part/1"
NAME = "part.json"
INPUTS = "inputs.json"
"""Beside it: the ids of the studies of all parts, as the part saw them."""
TABLES = ("studies.csv", "findings.csv", "predictions.csv", "points.csv", "volumes.csv")
_FOLDER = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True)
class Merged:
    """What was joined.

    Attributes
    ----------
    studies, refused
        The number of studies in all tables, and how many of them were refused.
    missing
        The numbers of parts without finished tables.
    parts
        The number of parts.
    absent
        The studies of the inputs that are in no table.
    """

    out: Path
    studies: int
    refused: int
    missing: tuple[int, ...]
    parts: int
    absent: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if a study was refused, or a part or a study is missing."""
        return ExitCode.SOME_REFUSED if self.refused or self.missing or self.absent else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        parts = [f"{counted(self.studies, 'study')} of {self.parts - len(self.missing)} of {self.parts} parts"]
        parts += [f"{self.refused} refused"] if self.refused else []
        if self.missing:
            parts.append(f"missing parts: {listed([f'{number}/{self.parts}' for number in self.missing])}")
        if self.absent:
            parts.append(f"{counted(len(self.absent), 'study')} of the inputs missing: {listed(self.absent)}")
        return f"{', '.join(parts)}; see {self.out / 'studies.csv'}"


def write_part(
    part: Part, out: Path, *, settings: Mapping[str, Any], inputs: Sequence[str], studies: int, provenance: str
) -> None:
    """Write ``inputs.json``, and ``part.json``, which says that the tables of a part are finished.

    Parameters
    ----------
    settings
        What probabilities depend on: parts with others are not joined.
    inputs
        The ids of the studies of all parts.
    studies
        The number of studies of this one.
    """
    # Numbers alone would not show that one part saw another study in the place of one.
    text = json.dumps(sorted(inputs)) + "\n"
    write_text(part.folder(out) / INPUTS, text)
    content = {
        "schema": SCHEMA,
        **{"part": part.number, "parts": part.count, "inputs": len(inputs), "studies": studies},
        "inputs_sha256": hashlib.sha256(text.encode()).hexdigest(),
        **{"settings": dict(settings), "provenance": provenance},
        "checksums": {name: checksum(part.folder(out) / name) for name in TABLES},
    }
    write_text(part.folder(out) / NAME, json.dumps(content, indent=1) + "\n")


def merge_parts(out: Path) -> Merged:
    """Join the tables of all finished parts of an output folder; those of studies stay where they are.

    Raises
    ------
    MissingInputError
        If the folder has no finished part.
    InvalidTableError
        If parts have another count, other models or options, or other inputs, or a table is damaged.
    OutputError
        If another process works in the folder.
    """
    finished = _finished(out)
    with output_lock(out):
        return _merged(out, finished)


def _merged(out: Path, finished: Sequence[Mapping[str, Any]]) -> Merged:
    first = finished[0]
    _check_alike(out, finished)
    folders = _folders(out, finished)
    for folder, one in zip(folders, finished, strict=True):
        for name in TABLES:
            _check_table(folder / name, one["checksums"].get(name))
    counts = [_counts(folder / "studies.csv") for folder in folders]
    studies, refused = (sum(column) for column in zip(*counts, strict=True))
    for table in TABLES:
        _join([folder / table for folder in folders], out / table)
    missing = tuple(sorted(set(range(1, first["parts"] + 1)) - {one["part"] for one in finished}))
    # While parts are missing, their studies are too; which ones is not known.
    absent = () if missing or first["inputs"] == studies else _absent(_inputs(out, first), folders)
    _write_readme(out, first["provenance"])
    return Merged(out, studies, refused, missing, first["parts"], absent)


def _finished(out: Path) -> list[dict[str, Any]]:
    contents = []
    for path in sorted((out / PARTS).glob(f"*/{NAME}")):
        if not _FOLDER.fullmatch(path.parent.name):
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"its schema is {content['schema']!r}")
            Part(content["part"], content["parts"])
            dict(content["checksums"])
            contents.append(content)
        except (ValueError, KeyError, TypeError) as err:
            raise InvalidTableError(f"{path}: expected a finished part of the schema {SCHEMA} ({err})") from err
    if not contents:
        raise MissingInputError(f"expected finished parts in {out / PARTS}; run predict with -o {out} --part 1/N first")
    return contents


def _folders(out: Path, finished: Sequence[Mapping[str, Any]]) -> list[Path]:
    return [Part(one["part"], one["parts"]).folder(out) for one in finished]


def _inputs(out: Path, one: Mapping[str, Any]) -> set[str]:
    """The ids of the studies that a part saw."""
    path = Part(one["part"], one["parts"]).folder(out) / INPUTS
    try:
        return set(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as err:
        raise InvalidTableError(f"{path}: expected the studies that the part saw; run that part again ({err})") from err


def _absent(inputs: set[str], folders: Iterable[Path]) -> tuple[str, ...]:
    for folder in folders:
        inputs = inputs - {row["study"] for row in _rows(folder / "studies.csv")}
    return tuple(sorted(inputs))


def _check_alike(out: Path, finished: Sequence[Mapping[str, Any]]) -> None:
    first = finished[0]
    for other in finished[1:]:
        pair = f"parts {first['part']}/{first['parts']} and {other['part']}/{other['parts']}"
        if other["parts"] != first["parts"]:
            raise InvalidTableError(f"{pair} have different counts; remove the folders of one of them")
        differing = sorted(
            name
            for name in {*first["settings"], *other["settings"]}
            if first["settings"].get(name) != other["settings"].get(name)
        )
        if differing:
            raise InvalidTableError(
                f"{pair} were made with different models or options ({', '.join(differing)}); run one of them again"
            )
        if any(other.get(name) != first.get(name) for name in ("inputs", "inputs_sha256")):
            raise InvalidTableError(
                f"{pair} saw different inputs: {first['inputs']} and {counted(other['inputs'], 'study')}"
                f"{_differences(out, first, other)}; run the parts again that did not see all"
            )


def _differences(out: Path, *parts: Mapping[str, Any]) -> str:
    """Studies that only one of two parts saw, for the end of a message."""
    first, other = (_inputs(out, one) for one in parts)
    return "".join(
        f", only {one['part']}/{one['parts']} saw {listed(sorted(own))}"
        for one, own in zip(parts, (first - other, other - first), strict=True)
        if own
    )


def _join(sources: Sequence[Path], target: Path) -> None:
    """Join sorted tables of one head, in the order of their first columns."""
    with ExitStack() as stack:
        readers = [csv.reader(stack.enter_context(_opened(source))) for source in sources]
        heads = [next(reader, None) for reader in readers]
        for source, head in zip(sources, heads, strict=True):
            if head is None or head != heads[0]:
                raise InvalidTableError(f"{source}: expected the columns of {sources[0]}; run that part again")
        partial = stack.enter_context(whole_file(target))
        writer = csv.writer(stack.enter_context(partial.open("w", newline="", encoding="utf-8")), lineterminator="\n")
        writer.writerow(heads[0] or [])
        writer.writerows(heapq.merge(*readers, key=_first))


def _check_table(path: Path, known: int | None) -> None:
    if not path.is_file():
        raise MissingInputError(f"expected the table {path} of a finished part; run that part again")
    if checksum(path) != known:
        raise InvalidTableError(f"{path} is not as its part wrote it: it was changed or damaged; run that part again")


def _first(row: Iterable[Any]) -> str:
    return str(next(iter(row), ""))


def _counts(table: Path) -> tuple[int, int]:
    """The rows of ``studies.csv``, and how many are of refused studies."""
    studies = refused = 0
    for row in _rows(table):
        studies += 1
        refused += row["status"] == "refused"
    return studies, refused


def _opened(path: Path) -> Any:
    return path.open(newline="", encoding="utf-8")


def _rows(table: Path) -> Iterator[dict[str, str]]:
    with _opened(table) as file:
        yield from csv.DictReader(file)


def _write_readme(out: Path, provenance: str) -> None:
    tables = ", ".join(f"`{table}`" for table in TABLES)
    text = f"# Results of `monai-spine predict`, joined from parts\n\n**{provenance}**\n\n"
    write_text(out / "README.md", f"{text}{tables}: all studies. `parts/`: the tables of each part.\n")
