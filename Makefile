# Two commands matter: `make audit` and `make test`. Both install what they need first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= config.toml
ARGS ?=

.PHONY: audit test lint types layers docs docs-check lock format clean help

help:            ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

audit: $(VENV)/.audit   ## Audit the cluster and the engine found here, and the examples
	@tools/audit.sh $(BIN)/auditor $(CONFIG) $(ARGS)

test: $(VENV)/.dev   ## Run all tests; live ones need their parts (see the skip reasons)
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev   ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev   ## mypy --strict
	$(BIN)/mypy

layers: $(VENV)/.dev   ## import-linter: who may import whom
	$(BIN)/lint-imports

docs: $(VENV)/.dev   ## Write the pages that are generated from docstrings and catalogues
	$(BIN)/python docs/generate.py

docs-check: $(VENV)/.dev   ## Fail when a generated page is out of date
	$(BIN)/python docs/generate.py --check

format: $(VENV)/.dev   ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev   ## Pin every dependency with its hashes, without any index address
	$(BIN)/uv pip compile -q pyproject.toml --extra build --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  -o requirements.lock $(LOCK_ARGS)
	$(BIN)/uv pip compile -q pyproject.toml --extra build --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  -o requirements-dev.lock $(LOCK_ARGS)

clean:           ## Remove the environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/.audit: requirements.lock pyproject.toml tools/install.sh
	@tools/install.sh $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml tools/install.sh
	@tools/install.sh $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.audit
