# The project's commands. Everything is installed into .venv at the versions of constraints.txt.

PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# pip does not apply constraints to an isolated build, so the build backends are installed first:
# hatchling for minigpt, setuptools for what comes as source only.
INSTALL = $(PIP) --no-build-isolation --editable

.PHONY: train test soak lint docs bench

train: .venv/.run ## make train ARGS="trainer=quick"
	$(BIN)/python train.py $(ARGS)

test: .venv/.dev ## make test ARGS="tests/model -x"
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

soak: .venv/.dev ## what takes too long for make test
	$(BIN)/python -m pytest -m soak $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: .venv/.docs ## the site: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/.dev
	$(BIN)/python benchmarks/train_step.py

.venv/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) hatchling setuptools
	$(INSTALL) .
	touch $@

.venv/.dev: .venv/.run
	$(INSTALL) '.[dev]'
	touch $@

.venv/.docs: .venv/.run
	$(INSTALL) '.[docs]'
	touch $@
