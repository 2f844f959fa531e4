# Everything a person needs: `make train`, `make test`. Options of a run: make train ARGS="--dataset cifar100"
# Commands read .env, or another file: make deploy ENV_FILE=/etc/image-training.env
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
UV := uv==0.13.9
INSTALL := $(BIN)/uv pip install --quiet --no-cache --python $(BIN)/python
LOCK := pyproject.toml --universal --python-version 3.11 --no-annotate --quiet --custom-compile-command "make lock"
# Each process of a run would compile TensorFlow and Prefect anew, for 20 s, where this variable keeps that from the disk.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup develop lock train test test-all faults bench docs lint stack deploy doctor

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready ## create the environment in .venv: what running needs (requirements.lock)

develop: .venv/.ready-to-develop ## add what tests, checks and the trial installation need (requirements-dev.lock)

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed; this is {v[0]}.{v[1]}. Name another one: make setup PYTHON=python3.12")'
	@echo "Setting up .venv: about 2.7 GB and a minute or two, once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@$(INSTALL) -r requirements.lock
	@$(INSTALL) --no-deps --editable .
	@touch $@

.venv/.ready-to-develop: .venv/.ready requirements-dev.lock
	@echo "Adding what tests and the trial installation need: about 0.6 GB"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

lock: develop ## pin all packages anew, from the ranges in pyproject.toml
	$(BIN)/uv pip compile --upgrade $(LOCK) -o requirements.lock
	$(BIN)/uv pip compile --upgrade $(LOCK) --group dev -c requirements.lock -o requirements-dev.lock

train: setup ## run the main job; pass options with ARGS="--dataset cifar100 --epochs 2"
	@$(BIN)/python -m flows.train $(ARGS)

test: develop ## run the default tests: about 4 minutes on 2 cores, no network
	$(BIN)/python -m pytest

test-all: develop ## run the default tests and those on real data
	$(BIN)/python -m pytest -m "not gpu and not stack"

faults: develop ## inject faults into real runs and print how each ended; only some: make faults ARGS="--only clock"
	@$(BIN)/python -m tests.faults $(ARGS)

bench: develop ## measure speed against peers and print one table: about half an hour; STORE_URI and MIRROR_URL as for training
	@$(BIN)/python -m tests.benchmarks $(ARGS)

stack: develop ## start a complete installation on this machine, for trial: server, store, workers; Ctrl-C stops it
	@$(BIN)/python -m deployments.stack $(ARGS)

deploy: setup ## apply deployments/prefect.yaml to the Prefect server; safe to run again
	@$(BIN)/python -m deployments.deploy $(ARGS)

doctor: setup ## check server, workers, store and clock, one line each
	@$(BIN)/python -m deployments.doctor $(ARGS)

docs: develop ## write the generated pages of docs/
	@$(BIN)/python -m docs.generate

lint: develop ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

