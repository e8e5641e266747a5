# Everything a maintainer types. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamps
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test test-all lint bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  %-10s %s\n", $$1, $$2}'

$(STAMP)/venv:
	@requirements/venv.sh $(PYTHON) $(VENV)
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/run: $(STAMP)/venv requirements/run.txt pyproject.toml
	@echo "setup: installing what Sluice needs to run (a minute or two)"
	@$(BIN)/python -m pip --python $(BIN)/python install -q --require-hashes --no-deps -r requirements/run.txt
	@requirements/link.sh $(BIN)/python
	@touch $@

$(STAMP)/dev: $(STAMP)/run requirements/dev.txt
	@echo "setup: installing the test tools"
	@$(BIN)/python -m pip --python $(BIN)/python install -q --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

$(STAMP)/bench: $(STAMP)/dev requirements/bench.txt
	@echo "setup: installing the peers to measure against"
	@$(BIN)/python -m pip --python $(BIN)/python install -q --require-hashes --no-deps -r requirements/bench.txt
	@touch $@

$(STAMP)/system: requirements/system.sh
	@requirements/system.sh run
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/system-test: requirements/system.sh $(STAMP)/system
	@requirements/system.sh test
	@touch $@

$(STAMP)/clients: $(STAMP)/dev tests/clients/package.json tests/clients/package-lock.json
	@echo "setup: installing the real heroku CLI for the tests"
	@requirements/node.sh $(VENV) tests/clients
	@touch $@

setup: $(STAMP)/system $(STAMP)/run ## install everything that running needs
setup-test: setup $(STAMP)/system-test $(STAMP)/dev $(STAMP)/clients ## install everything that testing needs

demo: setup ## from git push to report: start, push the shop, send traffic, analyse, stop (KEEP=1 leaves it running)
	@$(BIN)/sluice demo $(if $(KEEP),--keep)

lint: $(STAMP)/dev ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup-test lint ## lint, types, import contracts, tests (15 minutes on 2 cores at most)
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow and not serial"
	$(BIN)/pytest -m "serial and not slow"

test-all: setup-test lint ## the same with the slow tiers
	$(BIN)/pytest -n 2 --dist loadgroup -m "not serial"
	$(BIN)/pytest -m "serial"

bench: setup $(STAMP)/bench ## measure against named peers; table on stdout and build/bench.json (ONLY=ingest for a part)
	@$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

lock: $(STAMP)/dev ## compile requirements/*.in to hash locks
	@cd requirements && for name in run dev bench; do \
	  ../$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o $$name.txt $$name.in; done

clean: ## remove what the targets above made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/clients/node_modules
