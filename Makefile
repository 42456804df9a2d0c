# The doors of the house. `make` alone lists them.

# The first interpreter that runs and is new enough; override with `make PYTHON=/path/to/python …`.
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/.installed

# Two workers of one thread each: torch would otherwise start one thread per core in every worker.
PYTEST_ARGS ?= -n 2
# The comparison of the README: one model, all of ml-100k, two controls beside it, a schedule for two cores.
DEMO_ARGS ?= --epochs 15 --set stopping_step=3 --set train_batch_size=512

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(STAMP) ## make .venv with everything pinned in constraints.txt (once; again when the pins change)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "llmrg needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 install"; exit 1; }
	@echo "Installing into .venv with $(PYTHON): one to three minutes ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[offline,dev]'
	@touch $@

demo: install ## SASRec base / enhanced / empty / shuffled on all of ml-100k, with the embedded reasoner
	$(BIN)/llmrg compare SASRec ml-100k --arms base,enhanced,empty,shuffled --out runs/demo $(DEMO_ARGS)

test: export OMP_NUM_THREADS ?= 1
test: install ## the test suite (PYTEST_ARGS="-n 0 -k causality" to choose)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: install types ## ruff, mypy --strict and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install ## mypy --strict over llmrg/
	$(BIN)/mypy

bench: install ## every script of benchmarks/, figures beside their targets
	$(BIN)/python benchmarks/run_all.py

clean: ## remove what can be made again (never runs/ and never graphs)
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
