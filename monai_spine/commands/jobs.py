"""The commands that make a training a job on rented machines: monai-spine job. Each imports what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_spine.commands.options import Preset, Quiet, Settings
from monai_spine.jobs.platform_options import OFFERS, Offer

app = typer.Typer(
    help="Train on rented machines: write, check, rehearse a job.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"default_map": {"help": False}},
)

Folder = Annotated[
    Path, typer.Argument(metavar="JOB", help="The folder of a job, from -o of the command that wrote it.")
]


def _options(  # noqa: PLR0917 - options
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or its name as monai-spine bundles lists it.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder for the job.")],
    output: Annotated[str, typer.Option(help="Where the results go, as the platform's machines see it.")],
    data: Annotated[
        str | None, typer.Option(help="The folder with datalist.json, as the platform's machines see it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The job's name. [default: the bundle's]")] = None,
    preset: Preset = None,
    settings: Settings = None,
    nodes: Annotated[int, typer.Option(help="Number of machines.")] = 1,
    accelerator: Annotated[
        str | None,
        typer.Option(metavar="TYPE[:NUMBER]", help="GPUs of each machine, such as L4 or H100:8. [default: none]"),
    ] = None,
    machine: Annotated[
        str | None, typer.Option(help="The platform's name of a machine. [default: one with these GPUs]")
    ] = None,
    spot: Annotated[
        bool, typer.Option("--spot", help="Take machines that may be taken away at any time, for a lower price.")
    ] = False,
    timeout: Annotated[str, typer.Option(help="When the platform ends the job: 90m, 12h, 2d.")] = "24h",
    max_restarts: Annotated[
        int, typer.Option("--max-restarts", help="How often the training goes on after a failed process.")
    ] = 3,
    disk_gb: Annotated[int, typer.Option("--disk-gb", help="Each machine's own disk, for a copy of the data.")] = 200,
    image: Annotated[str | None, typer.Option(help="A container image that has monai_spine.")] = None,
    package: Annotated[
        Path | None, typer.Option(help="Instead of --image: a wheel of monai_spine, installed by each machine.")
    ] = None,
    base_image: Annotated[
        str | None, typer.Option("--base-image", help="With --package: the image with Python that installs it.")
    ] = None,
    trained_on: Annotated[
        str | None, typer.Option("--trained-on", help='What the weights learn from, such as "RSNA 2024".')
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the specification with the vendor's own types.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier job in the folder.")] = False,
) -> None:
    """The options of all platforms, for their commands."""


def _write(
    platform: str,
    own: dict[str, str],
    *,
    out: Path,
    preset: list[Path] | None,
    settings: list[str] | None,
    check: bool,
    force: bool,
    **options: Any,
) -> None:
    """Write a job's folder; ``options`` are those of `Request` by name, ``own`` those of the platform."""
    from monai_spine.jobs.job_folder import SUBMIT, Request, write_job_folder
    from monai_spine.jobs.platforms import PLATFORMS

    request = Request(presets=tuple(preset or ()), settings=tuple(settings or ()), own=own, **options)
    write_job_folder(platform, request, out, check=check, force=force)
    typer.echo(
        f"{out / PLATFORMS[platform].file}{' passes the types of the vendor' if check else ''}; see {out / SUBMIT}"
    )


def check(folder: Folder) -> None:
    """Compare a job's specification with the vendor's own types.

    Needs the extra jobs. Nothing is sent anywhere, and no account is needed.

    \b
    Example:
      monai-spine job check job
    """
    from monai_spine.jobs.job_folder import check_job_folder

    typer.echo(f"{check_job_folder(folder)} passes the types of the vendor")


def rehearse(  # noqa: PLR0917 - options
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A new folder for all files. [default: JOB/rehearsal]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A data set on this machine. [default: the job's, if it is here]")
    ] = None,
    studies: Annotated[int, typer.Option(min=4, help="How many studies or images of the data set to use.")] = 8,
    epochs: Annotated[int, typer.Option(min=3, help="Number of epochs.")] = 3,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A configuration entry for the rehearsal; may be repeated."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=1, help="End with an error after these.")] = 30.0,
    quiet: Quiet = False,
) -> None:
    """Run a job on this machine, and kill one of its workers.

    Starts two machines of the job as processes on the loopback address, with the platform's environment variables and a
    folder in place of its storage. Trains twice: once undisturbed, once with a worker killed in the second epoch. Both
    must end with the same weights. Nothing is submitted.

    \b
    Example:
      monai-spine job rehearse job --data demo/nifti
    """
    from monai_spine.jobs.rehearsal import rehearse as run

    result = run(
        folder,
        out or folder / "rehearsal",
        data,
        studies=studies,
        epochs=epochs,
        settings=tuple(settings or ()),
        minutes=minutes,
        report=lambda line: None if quiet else typer.echo(line, err=True),
    )
    typer.echo(result.line())


def _command(platform: str, offer: Offer) -> Callable[..., None]:
    """The command of a platform: the options of all platforms, and its own."""

    def command(**options: Any) -> None:
        chosen = {name: options.pop(name.replace("-", "_")) for name in offer.options}
        _write(platform, {name: value for name, value in chosen.items() if value is not None}, **options)

    more = [
        inspect.Parameter(
            name.replace("-", "_"),
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[str | None, typer.Option(f"--{name}", help=text)],
        )
        for name, text in offer.options.items()
    ]
    parameters = [*inspect.signature(_options, eval_str=True).parameters.values(), *more]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # typer reads both
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__doc__ = f"""Write a training as a job of {offer.title}.

    Writes the specification, the bundle, and the commands that submit both. Nothing is submitted.

    \b
    Example:
      monai-spine job {platform} lumbar_25d_grader -o job {offer.example}
    """
    return command


for _name, _offer in OFFERS.items():
    app.command(_name)(_command(_name, _offer))
app.command()(check)
app.command()(rehearse)
