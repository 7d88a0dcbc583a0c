# Two commands on a fresh machine: `make demo` and `make test`. Nothing is installed outside .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types imports unit bench conformance deaths goldens wheel clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(BIN)/python -m pip check
	@touch $@

setup: $(READY) ## make the virtual environment

demo: $(READY) ## rehearse one change done twice, the naive and the safe way, on the embedded PostgreSQL
	@$(BIN)/rehearse compare scenarios/shop/naive.toml scenarios/shop/safe.toml --out reports

test: lint types imports unit ## everything that has to pass

lint: $(READY) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy --strict
	$(BIN)/mypy

imports: $(READY) ## imports go one way
	$(BIN)/lint-imports --no-cache

unit: $(READY) ## the tests
	$(BIN)/python -m pytest

bench: $(READY) ## us and our peers, side by side in one run; takes minutes
	$(BIN)/python -m bench
	$(BIN)/python -m pytest tests/bench -q --benchmark-only -o addopts=--import-mode=importlib

conformance: $(READY) ## every row of the catalogue as a rehearsal under traffic; takes some twenty minutes
	$(BIN)/python -m conformance

deaths: $(READY) ## kill runs, servers, containers and a Docker engine midway, and see what is left; takes minutes
	$(BIN)/python -m bench.deaths

goldens: $(READY) ## rewrite the golden files of the reports, to be looked at before they are committed
	REWRITE_GOLDENS=1 $(BIN)/python -m pytest tests/report -q

wheel: $(READY) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what a killed run left, and what the build made
	@test ! -x $(BIN)/rehearse || $(BIN)/rehearse clean
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
