"""Options that commands of several modules have."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress on stderr.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps. [default: a GPU if there is one]")]
Weights = Annotated[
    list[Path] | None, typer.Option(help="File or folder of weights, one for each --model. [default: BUNDLE/models]")
]
RecessModel = Annotated[
    Path | None,
    typer.Option("--recess-model", help="The bundle of a recess localizer. [default: the one of the package]"),
]
Preset = Annotated[
    list[Path] | None, typer.Option(help="A preset of the bundle, or a configuration file; may be repeated.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A configuration entry; may be repeated.")
]
Floor = Annotated[
    Path | None,
    typer.Option(
        help="A phantom cohort's floor.json or truth.csv: report the share of the way from the prior to the floor."
    ),
]


class PrecisionName(str, Enum):
    """The numbers that networks compute with."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
