"""Which library runs the networks, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from importlib.util import find_spec

from monai_spine.errors import InvalidOptionError, SpineError


class Runtime(str, Enum):
    """A library that runs networks."""

    AUTO = "auto"
    """OpenVINO on CPUs where it is installed, else PyTorch."""
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNX = "onnx"


class Precision(str, Enum):
    """The type of numbers that a network computes with."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


PACKAGES = {Runtime.OPENVINO: ("openvino",), Runtime.ONNX: ("onnxruntime", "onnx", "onnxscript")}
"""The packages that a runtime needs besides PyTorch: those of the extra of its name."""


@dataclass(frozen=True)
class RuntimeChoice:
    """A runtime that is installed, never `Runtime.AUTO`, and a precision that it has."""

    runtime: Runtime = Runtime.TORCH
    precision: Precision = Precision.FLOAT32
    chosen_for_user: bool = False
    """Whether the user asked for `Runtime.AUTO`, so that PyTorch runs what cannot be converted."""

    @property
    def is_torch(self) -> bool:
        """Whether PyTorch runs the networks as they are, without a converted model."""
        return self.runtime is Runtime.TORCH

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the packages that convert a model and run it."""
        return {name: version(name) for name in ("torch", *PACKAGES.get(self.runtime, ()))}

    @property
    def mark(self) -> str:
        """What the digest of a model gets: a text where answers may differ, so that studies are graded again.

        In float32 all runtimes agree within 1e-5, so a study that one of them graded is done for the others. So is one
        of PyTorch on a GPU, where a bundle's own ``amp`` chooses the precision.
        """
        return "" if self.is_torch or self.precision is Precision.FLOAT32 else f"+{self.precision.value}"

    def about(self) -> dict[str, str]:
        """For ``findings.json``."""
        return {"name": self.runtime.value, "version": self._version, "precision": self.precision.value}

    @property
    def _version(self) -> str:
        return version(PACKAGES.get(self.runtime, ("torch",))[0])


TORCH = RuntimeChoice()


def choose_runtime(runtime: str, precision: str, device: str) -> RuntimeChoice:
    """The runtime and precision that options ask for.

    Parameters
    ----------
    runtime, precision
        Values of `Runtime` and `Precision`.
    device
        The type of the device: ``cpu``, ``cuda`` or ``mps``.

    Raises
    ------
    InvalidOptionError
        If a value is unknown, the runtime does not run on the device, or it does not have the precision.
    SpineError
        If the runtime's package is not installed. The message has the command that installs it.
    """
    try:
        chosen, number = Runtime(runtime), Precision(precision)
    except ValueError as error:
        raise InvalidOptionError(
            f"expected a runtime of {[one.value for one in Runtime]} and a precision of "
            f"{[one.value for one in Precision]}, but found {runtime!r} and {precision!r}"
        ) from error
    automatic = chosen is Runtime.AUTO
    if automatic:
        chosen = Runtime.OPENVINO if device == "cpu" and installed(Runtime.OPENVINO) else Runtime.TORCH
    if chosen is not Runtime.TORCH:
        if device != "cpu":
            raise InvalidOptionError(
                f"--runtime {chosen.value} is for CPUs, but the device is {device}; use --runtime torch or --device cpu"
            )
        if not installed(chosen):
            raise SpineError(
                f"--runtime {chosen.value} needs {PACKAGES[chosen][0]}; install it with: "
                f"pip install 'monai-spine[{chosen.value}]'"
            )
    if number is Precision.BFLOAT16 and chosen is not Runtime.OPENVINO:
        raise InvalidOptionError(
            f"--precision bfloat16 needs --runtime openvino on a CPU, but the runtime is {chosen.value} on {device}"
        )
    return RuntimeChoice(chosen, number, automatic)


def installed(runtime: Runtime) -> bool:
    """Whether the packages of a runtime are installed."""
    return all(find_spec(name) is not None for name in PACKAGES.get(runtime, ()))
