"""Reading what `data_prep rsna` and `data_prep study-table` wrote, for tests."""

import csv
import json

import pandas as pd


def table(path):
    """A CSV, all cells strings."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def entries(out, section="training"):
    """Entries of a datalist by study."""
    return {entry["study_id"]: entry for entry in json.loads((out / "datalist.json").read_text())[section]}


def faults(out, study=None):
    """Rows of quality.csv, of one study or of all."""
    with (out / "quality.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if study in (None, row["study_id"])]


def codes(out, study=None):
    """Codes of faults."""
    return {row["code"] for row in faults(out, study)}


def contents(out):
    """Every file below a folder, by its path."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
