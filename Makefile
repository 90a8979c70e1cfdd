# make demo   phantom studies as DICOM, converted, trained on, graded: the whole chain in a few minutes
# make test   lint, types, import directions and all tests, as CI runs them
# make lint   the first three of these
# Each sets up .venv by itself. PYTHON chooses the interpreter (3.10 or newer), DEMO the demo's folder.

PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin

.PHONY: demo test lint format clean

demo: .venv/.installed
	$(BIN)/monai-spine demo $(DEMO)

# One thread a process, and tests/bundles first: a long file that starts last would run alone.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20 --cov --cov-report=term --cov-fail-under=90

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.installed: setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -c 'import torch, torchvision.ops; print("torch", torch.__version__, "torchvision", torchvision.__version__)'
	touch $@

clean:
	rm -rf .venv build *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
