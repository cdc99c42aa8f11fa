# The project's commands. Everything is installed into .venv at the versions of constraints.txt.

PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: train test lint bench

train: .venv/.run ## make train ARGS="trainer=quick"
	$(BIN)/python train.py $(ARGS)

test: .venv/.dev ## make test ARGS="tests/model -x"
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python benchmarks/train_step.py

.venv/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/.dev: .venv/.run
	$(PIP) --editable '.[dev]'
	touch $@
