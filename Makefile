# make demo   phantom studies as DICOM, converted, trained on, graded: the whole chain in a few minutes
# make test   what CI runs: lint and all tests, 10 minutes on two idle cores
# make quick  the tests that train nothing, about 2 minutes
# make coverage  all tests, and which lines they run: at least 90 %; half as long again
# make lint   format, types, import directions, and the documentation's links
# make mutants  how many small faults in the core modules the tests notice; by hand, half an hour
# make adversarial  kills, hostile inputs, flipped bits: the long run, by hand, half an hour
# make audit  known vulnerabilities of the pinned dependencies; needs a network
# make docs   the documentation as a site: open site/index.html
# Each sets up .venv by itself. PYTHON chooses the interpreter (3.10 or newer), DEMO the demo's folder.

PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin
# -rs: says why a test was skipped.
# One thread a process, and tests/bundles first: a long file that starts last would run alone. A process that crashes
# ends the run, since the others would wait for it without an end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: demo test coverage validators quick mutants adversarial audit lint types docs tutorial format clean

demo: .venv/.installed
	$(BIN)/monai-spine demo $(DEMO)

test: lint validators
	$(PYTEST) --durations=20

coverage: .venv/.installed
	$(PYTEST) --cov --cov-report=term --cov-fail-under=90

# Programs of others that judge our DICOM objects; tests that need them skip where they cannot be installed.
validators:
	@command -v dciodvfy dsrdump >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get install --quiet=2 --yes dicom3tools dcmtk; } || echo "without dciodvfy and dsrdump, their tests skip"

quick: .venv/.installed
	$(PYTEST) -m "not slow"

mutants: .venv/.installed
	$(BIN)/python -m pip install --quiet cosmic-ray
	$(BIN)/python benchmarks/mutants.py

adversarial: .venv/.installed
	$(BIN)/python benchmarks/adversarial.py

audit: .venv/.installed
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --no-deps --disable-pip --requirement constraints.txt

# The two that take half a minute run side by side.
lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs=2 docs types

types: .venv/.installed
	$(BIN)/mypy

docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# Run the tutorial anew and keep its pictures in the notebook, after a change that alters what it shows.
tutorial: .venv/.installed
	$(BIN)/python docs/site_tools/run_notebook.py docs/tutorial.ipynb

format: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.installed: setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	$(BIN)/python -c 'import torch, torchvision.ops; print("torch", torch.__version__, "torchvision", torchvision.__version__)'
	touch $@

clean:
	rm -rf .venv build site *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
