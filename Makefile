# The project's commands. Everything is installed into .venv at the versions and with the hashes of
# requirements/.

PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip
QUIET = --quiet --disable-pip-version-check
# requirements/ has every package and the hashes of its files, so none is looked for: --no-deps.
# pip would build what comes as source only with any version of its tools: --no-build-isolation.
INSTALL = $(PIP) install $(QUIET) --no-deps --no-build-isolation
HASHED = $(INSTALL) --require-hashes --requirement

.PHONY: train test soak lint docs bench audit lock dist

train: .venv/.run ## make train ARGS="trainer=quick"
	$(BIN)/python train.py $(ARGS)

test: .venv/.dev ## make test ARGS="tests/model -x"
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

soak: .venv/.dev .venv/.fuzz ## what takes too long for make test
	$(BIN)/python -m pytest -m soak $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet .github

docs: .venv/.docs ## the site: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/.dev
	$(BIN)/python benchmarks/train_step.py

audit: .venv/.audit ## known faults of what is installed; asks the package index
	$(BIN)/pip-audit --strict --disable-pip $(patsubst %,--requirement %,$(wildcard requirements/*.txt))

dist: .venv/.audit ## wheel, source, and a list of all that they run with (SBOM)
	$(BIN)/python -m hatchling build
	cat requirements/torch.txt requirements/cuda.txt requirements/train.txt | $(BIN)/cyclonedx-py requirements - --output-file dist/minigpt.cdx.json

lock: .venv/.audit ## write requirements/ after a change of constraints.txt or pyproject.toml
	requirements/lock.sh

# torch is downloaded first, so that pip takes the build that fits the machine, and then checked.
# Its build for CUDA needs libraries that its build for the CPU does not.
.venv/.run: requirements/build.txt requirements/torch.txt requirements/cuda.txt requirements/train.txt
	$(PYTHON) -m venv .venv
	$(HASHED) requirements/build.txt
	$(HASHED) requirements/train.txt
	$(PIP) download $(QUIET) --no-deps --only-binary :all: --dest .venv/torch --constraint constraints.txt torch
	$(HASHED) requirements/torch.txt --no-index --find-links .venv/torch
	rm -r .venv/torch
	$(PIP) check > .venv/missing.txt || $(HASHED) requirements/cuda.txt
	$(INSTALL) --editable .
	touch $@

.venv/.%: requirements/%.txt .venv/.run
	$(HASHED) $<
	touch $@
