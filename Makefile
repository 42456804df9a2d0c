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
.PHONY: help install demo test lint types bench llama-server clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

install: $(STAMP) ## make .venv with everything pinned in constraints.txt (once; again when the pins change)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "llmrg needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 install"; exit 1; }
	@echo "Installing into .venv with $(PYTHON): one to three minutes ..."
	"$(PYTHON)" -m venv .venv
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

# A real server for the contract tests: llama.cpp's, from the source inside llama-cpp-python's sdist, and a model that
# knows nothing (tests/reasoners/tiny_gguf.py). All of it stays in build/, which git ignores.
LLAMA := build/llama-server
LLAMA_SDIST := llama-cpp-python==0.3.36
LLAMA_FLAGS := -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=OFF -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF \
	-DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF

llama-server: $(LLAMA)/llama-server $(LLAMA)/babbler.gguf ## a real server for the contract tests (cmake, ninja and a C++ compiler; ten to twenty minutes)
	@echo "built; the tests find it by:  export LLMRG_LLAMA_SERVER=$(abspath $(LLAMA)/llama-server)"

$(LLAMA)/llama-server: | $(STAMP)
	mkdir -p $(LLAMA)/source
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d $(LLAMA) '$(LLAMA_SDIST)'
	tar xzf $(LLAMA)/llama_cpp_python-*.tar.gz -C $(LLAMA)/source --strip-components 1
	cmake -S $(LLAMA)/source/vendor/llama.cpp -B $(LLAMA)/made $(LLAMA_FLAGS)
	cmake --build $(LLAMA)/made --target llama-server
	cp $(LLAMA)/made/bin/llama-server $@

$(LLAMA)/babbler.gguf: tests/reasoners/tiny_gguf.py prompts/*.md | $(STAMP)
	mkdir -p $(LLAMA)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check gguf
	$(BIN)/python tests/reasoners/tiny_gguf.py $@

clean: ## remove what can be made again (never runs/ and never graphs)
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
