"""The process that runs a step of a bundle: how it starts, and what the machine offers it."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import ignite.distributed as idist
import monai
import torch

from monai_spine.bundle.configuration import being_evaluated
from monai_spine.bundle.errors import explain_errors
from monai_spine.bundle.model_settings import follow_description
from monai_spine.bundle.options import refuse_none, refuse_unknown, restore_none
from monai_spine.bundle.setting_values import refuse_impossible


def start(*, seed: int = 0, distributed: bool = False) -> None:
    """What every bundle's ``initialize`` does, before anything is read or made.

    Errors get short messages, unknown settings and impossible values are refused, the settings of trained weights are
    taken over, and random numbers are fixed.

    Parameters
    ----------
    seed
        Of all random numbers.
    distributed
        Whether this is one of several processes that ``torchrun`` started; they then find each other.

    Raises
    ------
    InvalidOptionError
        If the configuration has a setting that the bundle does not know, one with a value that it cannot have, or one
        that does not fit the weights; or if an option is ``None``, which MONAI leaves out.
    MissingInputError, InvalidTableError
        See `follow_description`.
    """
    explain_errors()
    refuse_none(sys.argv, being_evaluated().parser)
    restore_none()
    refuse_unknown()
    refuse_impossible()
    follow_description()
    quiet_readers()
    if distributed:
        _join_processes()
        if torch.cuda.is_available():
            torch.cuda.set_device(device())
    monai.utils.set_determinism(seed=seed)


def _join_processes() -> None:
    """Let the processes of ``torchrun`` find each other, also those that it started again after one was killed."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    store, rank, count = next(iter(torch.distributed.rendezvous("env://")))
    if os.environ.get("LOCAL_WORLD_SIZE") == str(count):
        # torchrun keeps its store for all attempts, and a process that is started again would read the addresses of
        # those that were killed: "Gloo connectFullMesh failed … Connection refused" (torch 2.15). On several machines
        # the counts of attempts may differ, so there the store stays as it is.
        store = torch.distributed.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=count)


def quiet_readers() -> None:
    """Silence what `LoadImage` says of a reader that is not used here.

    MONAI makes every reader that it knows, and the one for DICOM on GPUs warns that its library is absent.
    """
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)


def device() -> torch.device:
    """The GPU, with several processes the one of this process's local rank; else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    rank = os.environ.get("LOCAL_RANK")  # set by torchrun
    return torch.device("cuda") if rank is None else torch.device("cuda", int(rank))


def has_bfloat16(device: str | torch.device) -> bool:
    """Whether a device computes bfloat16 in hardware: then networks run in it unless ``--amp False`` is given.

    Other devices compute in float32. NVIDIA GPUs before Ampere emulate bfloat16, which is slower than float32; float16
    would need a gradient scaler, and a state of it in each resumed run. A CPU gains nothing in training.
    """
    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):  # PyTorch answers for the current GPU, and the machine may have several kinds
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def pins_memory(device: str | torch.device) -> bool:
    """Whether a data loader puts batches into pinned memory, from which copies to an NVIDIA GPU are faster."""
    return torch.device(device).type == "cuda"


def loader_workers() -> int:
    """Processes that load data: up to four for a GPU, and one on a CPU of several cores.

    On two cores the smallest backbone waits for its data 3 % of its time with one and 13 % with none, and an epoch has
    5.5 instead of 3.9 studies a second (``benchmarks/training.py``).
    """
    cores = os.cpu_count() or 1
    return min(4, cores // 2) if torch.cuda.is_available() else int(cores > 1)


def drawing_workers() -> int:
    """Processes that draw phantoms, which costs more than the network's step: all processors but one, up to eight."""
    return max(1, min(8, (os.cpu_count() or 1) - 1))


def shows_progress() -> bool:
    """Whether to draw progress bars: on a terminal, and of several processes in the first one."""
    return sys.stderr.isatty() and idist.get_rank() == 0
