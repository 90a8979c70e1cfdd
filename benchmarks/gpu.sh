#!/bin/sh
# Measures the shipped trainings and predict on this machine's GPU and prints one table, within 8 minutes.
#
#   benchmarks/gpu.sh                     the table; also written to benchmarks/gpu.md
#   benchmarks/gpu.sh --tiny              the same rows shrunk, on a CPU too: does everything run?
#   benchmarks/gpu.sh wheels              download what a machine without a network lacks to .wheels, to carry along
#
# Python is $PYTHON, .venv/bin/python, or python3. If it lacks MONAI and there is a folder .wheels, the wheels are
# installed to a temporary folder first; torch, torchvision, timm, NumPy, SciPy, pandas and scikit-learn have to be
# there, with what they need.
# $PLATFORM and $PYTHON_VERSION name the machine that `wheels` downloads for.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi

if [ "${1:-}" = wheels ]; then
    # SimpleITK (50 MB) only converts DICOM, which is not measured here; nor are reports and DICOM objects.
    # The constraints: pydantic takes one version of pydantic-core alone.
    exec "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --dest .wheels -c constraints.txt \
        --python-version "${PYTHON_VERSION:-3.12}" --platform "${PLATFORM:-manylinux2014_x86_64}" \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
        monai pytorch-ignite nibabel importlib-resources pydicom isal fire termcolor joblib threadpoolctl \
        pandera typeguard typing_inspect mypy_extensions pydantic pydantic-core annotated-types typing-inspection \
        jsonschema jsonschema-specifications referencing rpds-py attrs \
        typer annotated-doc rich markdown-it-py mdurl pygments shellingham click \
        matplotlib contourpy cycler fonttools kiwisolver pyparsing \
        tensorboard tensorboard-data-server absl-py grpcio markdown protobuf werkzeug
fi

if ! "$PYTHON" -c 'import monai' 2>/dev/null && [ -d .wheels ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$site" .wheels/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONWARNINGS=ignore
"$PYTHON" benchmarks/gpu.py -o benchmarks/gpu.md "$@"
