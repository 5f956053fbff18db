# Every target creates the environment that it needs; nothing else has to be installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Without files of bytecode every process would compile the libraries anew: 12 seconds to import instead of 4.
unexport PYTHONDONTWRITEBYTECODE

SITE = $(BIN)/python -m sphinx -b html -W --keep-going -n -q -j auto docs build/site

.PHONY: demo test test-slow test-isa test-mutations check lint types imports site docs format bench bench-load bench-scale bench-store results gallery notebooks clean

demo: $(VENV)/.demo  ## write every layer of the standard library's documentation strings to disk
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev  ## run all tests except the slow ones, the files side by side
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-slow: $(VENV)/.dev  ## run the slow tests
	$(BIN)/python -m pytest -m slow

test-isa: $(VENV)/.dev  ## run the tests of the encoder and of int8 under every instruction set of oneDNN (slow)
	$(BIN)/python tests/isa.py

test-mutations: $(VENV)/.dev  ## read twenty thousand files of datasets, heads, models and sources with random changes (slow)
	$(BIN)/python -m pytest -m slow tests/whole/test_mutations.py

check: lint types imports site  ## check format, lint, types, import rules, and that the site can be built without a warning

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/python -m pytest -q tests/whole/test_imports.py

site: $(VENV)/.dev
	$(SITE)

docs: $(VENV)/.docs  ## build the site into build/site; open build/site/index.html
	$(SITE)

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## measure speed, memory and storage on this machine
	$(BIN)/python benchmarks/run.py

bench-store: $(VENV)/.dev  ## store the figures of the last runs; later runs are compared with them
	$(BIN)/python benchmarks/history.py

bench-load: $(VENV)/.dev  ## measure commands beside processes that never sleep
	$(BIN)/python benchmarks/load.py

bench-scale: $(VENV)/.dev  ## measure time and memory as the corpus grows, ten thousand shards, two workers
	$(BIN)/python benchmarks/scale.py

results: $(VENV)/.dev  ## write the tables of docs/results.md and docs/explanation/privacy.md, and docs/gallery, from ../shared/data
	$(BIN)/python benchmarks/stsb.py
	$(BIN)/python benchmarks/tasks.py
	$(BIN)/python benchmarks/site_tasks.py
	$(BIN)/python benchmarks/tuning.py
	$(BIN)/python benchmarks/multitask.py
	$(BIN)/python benchmarks/context.py
	$(BIN)/python benchmarks/pairs.py
	$(BIN)/python benchmarks/privacy.py
	$(BIN)/python benchmarks/languages.py
	$(BIN)/python benchmarks/small_vectors.py
	$(BIN)/python benchmarks/gallery.py

gallery: $(VENV)/.dev  ## write the pages of docs/gallery, from examples and ../shared/data
	$(BIN)/python benchmarks/gallery.py

notebooks: $(VENV)/.dev  ## execute the notebooks of examples, and store their outputs
	$(BIN)/python benchmarks/notebooks.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "layerwise needs Python 3.11 or newer and $(PYTHON) is older; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	@touch $@
