"""The commands that train: cv, compare, tune, and the demo.

Each imports what it needs when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from monai_spine.errors import InvalidOptionError


class Direction(str, Enum):
    """Of a figure."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class Pruner(str, Enum):
    """Which trials to end early."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"


Bundle = Annotated[Path, typer.Argument(help="A bundle, such as bundles/lumbar_25d_grader.")]
Data = Annotated[Path, typer.Option(help="A datalist.json with folds, or its folder.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results, and a folder for each run.")]
Preset = Annotated[
    list[Path] | None, typer.Option(help="A preset of the bundle, or a configuration file; repeat for several.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A configuration entry; repeat.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No lines of progress on stderr.")]


def cv(  # noqa: PLR0917 - options
    bundle: Annotated[Path, typer.Argument(help="A grader's bundle, such as bundles/lumbar_25d_grader.")],
    data: Annotated[Path, typer.Option(help="A datalist.json with folds, or its folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for a folder of each fold, and the tables.")],
    folds: Annotated[list[int] | None, typer.Option(help="A fold to do; repeat for several. All by default.")] = None,
    preset: Annotated[
        list[Path] | None, typer.Option(help="A preset of the bundle, or a configuration file; repeat for several.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A configuration entry; repeat.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No lines of progress on stderr.")] = False,
) -> None:
    """Cross-validate a grader: train once a fold, and join what each says of the studies that it never saw.

    Writes out_of_fold.csv and solution.csv, which score, calibrate, ensemble and audit take, and models/fold_0.pt …,
    which predict takes. Run again, it skips finished folds and goes on with one that was killed.

    \b
    Example:
      monai-spine cv bundles/lumbar_25d_grader --data nifti -o cv --preset convnext_nano_gated --set epochs=12
      monai-spine predict -i dicom -o graded --model bundles/lumbar_25d_grader --weights cv/models
    """
    from monai_spine.bundle.run import parse_settings
    from monai_spine.experiments.cross_validation import OWN, Plan, cross_validate

    plan = Plan(bundle, _datalist(data), tuple(preset or ()), parse_settings(settings or [], OWN))
    outcome = cross_validate(plan, out, folds, _say(quiet))
    typer.echo(f"{outcome.line()}; see {out / 'out_of_fold.csv'}")


def compare(  # noqa: PLR0917 - options
    bundle: Bundle,
    data: Data,
    out: Out,
    presets: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Presets; default: none; a+b: both; a/b: one a condition; name=a+b."),
    ] = None,
    backbones: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Backbones, by timm's names, in place of the bundle's.")
    ] = None,
    preset: Preset = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="For each; by default what the configuration says.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="In place of epochs: of processor time for each, by the clock on a GPU."),
    ] = None,
    folds: Annotated[
        list[int] | None, typer.Option(help="A fold to leave out; repeat for several. [default: 0]")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Another datalist, to evaluate on its studies.")] = None,
    floor: Annotated[
        Path | None,
        typer.Option(help="A phantom cohort's floor.json or truth.csv: say how far the way to it has been."),
    ] = None,
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Compare presets or backbones of a bundle: same split, same budget, one table.

    Evaluates on the datalist's test section if it has labels, else on the fold left out. Writes comparison.csv, .json
    and .png. Run again, it skips what is done and goes on with what was killed. Ends with 3 when a candidate failed.

    \b
    Example:
      monai-spine compare bundles/lumbar_25d_grader --data nifti -o out --presets default,efficientnet_b0 --minutes 60
      monai-spine compare bundles/image_classifier --data images -o out --backbones resnet18,convnext_nano --epochs 5
    """
    from monai_spine.bundle.run import parse_settings
    from monai_spine.experiments.comparison import candidate, judge
    from monai_spine.experiments.comparison import compare as comparison
    from monai_spine.experiments.comparison.training import OWN

    if (presets is None) == (backbones is None):
        raise InvalidOptionError("expected either --presets or --backbones")
    if epochs is not None and minutes is not None:
        raise InvalidOptionError("expected either --epochs or --minutes")
    chosen = parse_settings(settings or [], OWN)
    if presets is not None:
        if preset:
            raise InvalidOptionError("with --presets, join presets as a+b instead of giving --preset")
        candidates = candidate.presets(bundle, presets.split(","), chosen)
    else:
        candidates = candidate.backbones(bundle, preset or [], (backbones or "").split(","), chosen)
    datalist = _datalist(data)
    judged = judge.judge_of(datalist, folds or [0], _datalist(test) if test else None, floor)
    plan = comparison.Plan(bundle, datalist, judged, comparison.Budget(epochs, minutes))
    compared = comparison.compare(plan, candidates, out, _say(quiet))
    typer.echo(f"{compared.text}\nsee {out / 'comparison.png'}")
    raise typer.Exit(compared.exit_code)


def tune(  # noqa: PLR0917 - options
    bundle: Bundle,
    data: Data,
    out: Out,
    space: Annotated[
        Path, typer.Option(help="JSON or YAML: configuration ids with ranges; see docs/how-to/search.md.")
    ],
    trials: Annotated[int, typer.Option(min=1, help="How many in all; interrupted ones do not count.")],
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A database that several machines share. [default: sqlite in the folder]"),
    ] = None,
    study: Annotated[str, typer.Option(help="The search's name in the database.")] = "search",
    preset: Preset = None,
    metric: Annotated[
        str | None, typer.Option(help="A figure of the validation. [default: by which the bundle chooses weights]")
    ] = None,
    direction: Annotated[
        Direction | None, typer.Option(help="Whether more of --metric is better. [default: by its name]")
    ] = None,
    pruner: Annotated[Pruner, typer.Option(help="Which trials to end early.")] = Pruner.MEDIAN,
    fold: Annotated[int, typer.Option(help="The fold that validates.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the trainings, and of what is proposed.")] = 0,
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Search the best settings of a bundle, trial by trial, with Optuna.

    Writes best.json, a configuration file for monai.bundle run; trials.csv, search.json; history, importances and
    parallel coordinates as PNG; tensorboard/ with all trials; and a folder for each trial. Run again, it goes on;
    several machines share a search through --storage. Ends with 3 when a trial failed.

    \b
    Example:
      monai-spine tune bundles/image_classifier --data images -o search --space space.json --trials 40
      python -m monai.bundle run training --config_file "['…/train.json','search/best.json']" --dataset_dir images
    """
    from monai_spine.bundle.run import parse_settings, training_configs
    from monai_spine.experiments.tuning.space import OWN, read_space

    presets = tuple(preset or ())
    chosen = parse_settings(settings or [], OWN)
    within = read_space(space, training_configs(bundle, presets))
    try:
        from monai_spine.experiments.tuning import search
        from monai_spine.experiments.tuning import tune as tuning
    except ModuleNotFoundError as err:
        if err.name not in {"optuna", "sqlalchemy"}:
            raise
        raise InvalidOptionError(f"a search needs {err.name}: pip install 'monai-spine[tune]'") from err
    wish = tuning.Wish(
        bundle=bundle,
        datalist=_datalist(data),
        space=within,
        trials=trials,
        presets=presets,
        settings=chosen,
        storage=storage,
        study=study,
        metric=metric,
        higher_is_better=None if direction is None else direction is Direction.MAXIMIZE,
        pruning=search.Pruning(pruner.value),
        fold=fold,
        seed=seed,
    )
    found = tuning.tune(wish, out, _say(quiet))
    typer.echo(f"{found.line()}; see {out / 'best.json'}")
    raise typer.Exit(found.exit_code)


def demo(
    out: Annotated[Path, typer.Argument(help="New folder for everything the demo makes.")] = Path("demo"),
    studies: Annotated[int, typer.Option(min=10, help="Phantom studies to train on.")] = 150,
    held_out: Annotated[int, typer.Option("--held-out", min=5, help="Phantom studies to grade.")] = 40,
    epochs: Annotated[int, typer.Option(min=1, help="Training epochs.")] = 40,
) -> None:
    """Run the whole chain on phantom studies.

    \b
    Example:
      monai-spine demo demo
    """
    from monai_spine.experiments.demo import Plan, run_demo

    run_demo(out, Plan(studies, held_out, epochs))


def _datalist(data: Path) -> Path:
    return data / "datalist.json" if data.is_dir() else data


def _say(quiet: bool) -> Callable[[str], None]:
    return lambda text: None if quiet else typer.echo(text, err=True)


COMMANDS = (cv, compare, tune, demo)
