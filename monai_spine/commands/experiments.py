"""The commands that train, and training-features. Each imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer

from monai_spine.commands.options import Device, Floor, Preset, Quiet, Settings
from monai_spine.errors import InvalidOptionError

Bundle = Annotated[Path, typer.Argument(help="A bundle, such as bundles/lumbar_25d_grader.")]
Data = Annotated[Path, typer.Option(help="A datalist.json with folds, or its folder.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results, and for a folder of each run.")]
Presets = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="Presets. default: none of them; a+b: both; a/b: one for each condition; name=a+b: another name.",
    ),
]
Backbones = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Backbones, by their names in timm, instead of the bundle's.")
]
Minutes = Annotated[
    float | None,
    typer.Option(
        min=0, help="Instead of epochs: minutes for each candidate, of processor time, or of clock time on a GPU."
    ),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs of each network. [default: the configuration's]")]
Direction = Annotated[
    Literal["minimize", "maximize"] | None,
    typer.Option(help="Whether less or more of --metric is better. [default: by its name]"),
]
Pruner = Annotated[Literal["median", "hyperband", "none"], typer.Option(help="Which trials are ended early.")]
Metric = Annotated[
    str | None,
    typer.Option(help="A figure of the validation. [default: the one by which the bundle chooses weights]"),
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL|@FILE",
        envvar="MONAI_SPINE_STORAGE",
        show_envvar=False,
        help="A database that several machines share; a URL with a password belongs into a file, or into the "
        "environment variable MONAI_SPINE_STORAGE. [default: SQLite in the folder]",
    ),
]


def cv(  # noqa: PLR0917 - options
    bundle: Annotated[Path, typer.Argument(help="The bundle of a grader, such as bundles/lumbar_25d_grader.")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the tables, and for a folder of each fold.")],
    folds: Annotated[list[int] | None, typer.Option(help="A fold to train; may be repeated. [default: all]")] = None,
    preset: Preset = None,
    settings: Settings = None,
    pseudo_label: Annotated[
        Path | None,
        typer.Option(
            "--pseudo-label",
            metavar="NEW_STUDIES",
            help="New NIfTI studies, to get soft labels from these networks: a folder, or the test section of a "
            "datalist.",
        ),
    ] = None,
    natural: Annotated[
        bool,
        typer.Option(
            "--natural", help="For --pseudo-label: the networks were trained without the weights 1, 2, 4 of the grades."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Cross-validate a grader.

    Trains once for each fold, and joins the predictions of the held-out studies. Writes out_of_fold.csv and
    solution.csv for score, metrics, calibrate, ensemble and audit, and models/fold_0.pt and so on for predict. A second
    run skips finished folds and resumes a fold that was killed. With --pseudo-label, it also writes
    pseudo/datalist.json: the same studies with soft labels from the network that never saw them, and the new studies
    with the mean of all folds' networks. Train on it with pseudo_weight.

    \b
    Example:
      monai-spine cv bundles/lumbar_25d_grader --data nifti -o cv --preset convnext_nano_gated --set epochs=12
      monai-spine cv bundles/lumbar_25d_grader --data nifti -o cv --pseudo-label unlabelled
      monai-spine cv bundles/lumbar_25d_grader --data cv/pseudo -o second --set pseudo_weight=0.5
      monai-spine predict -i dicom -o graded --model bundles/lumbar_25d_grader --weights cv/models
    """
    from monai_spine.bundle.run import parse_settings
    from monai_spine.experiments.cross_validation import Plan, cross_validate
    from monai_spine.experiments.fold_run import OWN
    from monai_spine.experiments.pseudo_labels import new_studies, write_pseudo_labels

    if natural and not pseudo_label:
        raise InvalidOptionError("--natural is about the soft labels of --pseudo-label; give both")
    plan = Plan(bundle, _datalist(data), tuple(preset or ()), parse_settings(settings or [], OWN))
    if pseudo_label:
        new_studies(plan.datalist, pseudo_label)  # an error now, not after hours of training
    outcome = cross_validate(plan, out, folds, _report(quiet))
    typer.echo(f"{outcome.line()}; see {out / 'out_of_fold.csv'}")
    if pseudo_label:
        path = write_pseudo_labels(plan, out, outcome.folds, pseudo_label, natural, _report(quiet))
        typer.echo(f"soft labels: see {path}")


def compare(  # noqa: PLR0917 - options
    bundle: Bundle,
    data: Data,
    out: Out,
    presets: Presets = None,
    backbones: Backbones = None,
    preset: Preset = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    folds: Annotated[list[int] | None, typer.Option(help="A fold to hold out; may be repeated. [default: 0]")] = None,
    test: Annotated[Path | None, typer.Option(help="Evaluate on this datalist instead.")] = None,
    floor: Floor = None,
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Compare presets or backbones of a bundle.

    All candidates have the same split and the same budget. They are evaluated on the test section of the datalist if it
    has labels, otherwise on the held-out fold. Writes comparison.csv, .json and .png. A second run skips what is done
    and resumes what was killed. The exit code is 3 if a candidate failed.

    \b
    Example:
      monai-spine compare bundles/lumbar_25d_grader --data nifti -o out --presets default,efficientnet_b0 --minutes 60
      monai-spine compare bundles/image_classifier --data images -o out --backbones resnet18,convnext_nano --epochs 5
    """
    from monai_spine.bundle.run import parse_settings
    from monai_spine.experiments.comparison import candidate, comparison

    if epochs is not None and minutes is not None:
        raise InvalidOptionError("expected either --epochs or --minutes")
    chosen = parse_settings(settings or [], comparison.OWN)
    candidates = candidate.chosen_candidates(bundle, presets, backbones, preset or [], chosen)
    datalist = _datalist(data)
    assessment = comparison.assessment_of(datalist, folds or [0], _datalist(test) if test else None, floor)
    plan = comparison.Plan(bundle, datalist, assessment, epochs, minutes)
    compared = comparison.compare(plan, candidates, out, _report(quiet))
    typer.echo(f"{compared.text}\nsee {out / 'comparison.png'}")
    raise typer.Exit(compared.exit_code)


def training_features(  # noqa: PLR0917 - options
    bundle: Annotated[Path, typer.Argument(help="The bundle of a grader, such as bundles/lumbar_25d_grader.")],
    data: Annotated[Path, typer.Option(help="Studies of the training: a datalist, or a folder of NIfTI studies.")],
    held_out: Annotated[Path, typer.Option("--held-out", help="Studies like them that the training has not seen.")],
    patients: Annotated[
        Path | None, typer.Option(help="Real studies for mean and limit, where the training had phantoms alone.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A file of weights. [default: BUNDLE/models/model.pt]")] = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Learn what a training's studies look like.

    Writes a file beside the weights. With it, predict gives each finding a training_distance. A finding whose distance
    is above 1 is flagged as unlike_training. The limit is set so that 5 % of the findings of --patients are flagged,
    or, without --patients, 1 % of those of --held-out.

    \b
    Example:
      monai-spine training-features bundles/lumbar_25d_grader --data nifti --held-out other --patients hospital
    """
    from monai_spine.prediction.familiarity import learn_features

    learnt = learn_features(bundle, weights, data, held_out, patients, device=device, quiet=quiet)
    typer.echo(f"{learnt.table()}\nsee {learnt.path}")


def tune(  # noqa: PLR0917 - options
    bundle: Bundle,
    data: Data,
    out: Out,
    space: Annotated[
        Path, typer.Option(help="JSON or YAML with configuration ids and their ranges; see docs/how-to/search.md.")
    ],
    trials: Annotated[int, typer.Option(min=1, help="Number of trials in all; interrupted ones do not count.")],
    storage: Storage = None,
    study: Annotated[str, typer.Option(help="The name of the search in the database.")] = "search",
    preset: Preset = None,
    metric: Metric = None,
    direction: Direction = None,
    pruner: Pruner = "median",
    fold: Annotated[int, typer.Option(help="The fold that validates.")] = 0,
    seed: Annotated[int, typer.Option(help="The seed of the trainings and of the proposed trials.")] = 0,
    settings: Settings = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let the search space run code: $ expressions, and any _target_.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Search the best settings of a bundle.

    Optuna proposes the settings of each trial. Writes best.json, a configuration file for monai.bundle run; trials.csv
    and search.json; history, importances and parallel coordinates as PNG; tensorboard/ with all trials; and a folder
    for each trial. A second run continues the search. Several machines share a search through --storage. The exit code
    is 3 if a trial failed.

    \b
    Example:
      monai-spine tune bundles/image_classifier --data images -o search --space space.json --trials 40
      python -m monai.bundle run training --config_file "['…/train.json','search/best.json']" --dataset_dir images
    """
    from monai_spine.bundle.run import parse_settings, training_configs
    from monai_spine.experiments.tuning.space import OWN, read_space

    presets = tuple(preset or ())
    chosen = parse_settings(settings or [], OWN)
    parameters = read_space(space, training_configs(bundle, presets), trust=trust)
    tuning, search, storages = _tuning()
    if storage and any(storage in one for one in sys.argv) and storages.has_password(storage):
        message = "the password of --storage shows in the list of processes; use --storage @FILE or MONAI_SPINE_STORAGE"
        typer.echo(f"warning: {message}", err=True)
    url = storages.storage_url(storage) if storage else None
    higher = None if direction is None else direction == "maximize"
    request = search.TuningRequest(
        bundle, _datalist(data), parameters, trials, presets, chosen, url, study, metric, higher, pruner, fold, seed
    )
    result = tuning.tune(request, out, _report(quiet))
    typer.echo(f"{result.line()}; see {out / 'best.json'}")
    raise typer.Exit(result.exit_code)


def demo(
    out: Annotated[Path, typer.Argument(help="A new folder for all files of the demo.")] = Path("demo"),
    studies: Annotated[int, typer.Option(min=10, help="Number of phantom studies to train on.")] = 150,
    held_out: Annotated[int, typer.Option("--held-out", min=5, help="Number of phantom studies to grade.")] = 40,
    epochs: Annotated[int, typer.Option(min=1, help="Number of training epochs.")] = 8,
) -> None:
    """Run all steps on phantom studies.

    Makes phantom studies as DICOM, converts them, trains a grader, evaluates it, and grades new studies.

    \b
    Example:
      monai-spine demo demo
    """
    from monai_spine.experiments.demo import run_demo

    run_demo(out, studies=studies, held_out=held_out, epochs=epochs)


def _tuning() -> tuple[ModuleType, ModuleType, ModuleType]:
    """The modules of the search, or an error that names the extra that they need."""
    try:
        from monai_spine.experiments.tuning import request, search, storage
    except ModuleNotFoundError as err:
        if err.name not in {"optuna", "sqlalchemy"}:
            raise
        raise InvalidOptionError(f"a search needs {err.name}: pip install 'monai-spine[tune]'") from err
    return request, search, storage


def _datalist(data: Path) -> Path:
    return data / "datalist.json" if data.is_dir() else data


def _report(quiet: bool) -> Callable[[str], None]:
    return lambda line: None if quiet else typer.echo(line, err=True)


COMMANDS = (cv, compare, tune, training_features, demo)
