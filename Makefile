# Everything a maintainer types. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamps
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo notebooks test test-all lint bench fuzz lock clean

help: ## list the targets
	@echo "Sluice. make demo shows it all; make test checks it all. Both set up what they need."
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  %-10s %s\n", $$1, $$2}'

$(STAMP)/venv:
	@requirements/venv.sh $(PYTHON) $(VENV)
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/run: $(STAMP)/venv requirements/run.txt requirements/link.sh
	@echo "setup: installing what Sluice needs to run (a minute or two)"
	@$(BIN)/python -m pip --python $(BIN)/python install -q --require-hashes --no-deps -r requirements/run.txt
	@requirements/link.sh $(BIN)/python
	@touch $@

$(STAMP)/dev: $(STAMP)/run requirements/dev.txt
	@echo "setup: installing the test tools"
	@$(BIN)/python -m pip --python $(BIN)/python install -q --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

$(STAMP)/system-tests: $(STAMP)/venv requirements/system.sh
	@requirements/system.sh tests
	@touch $@

$(STAMP)/syslog-ng: $(STAMP)/system-tests requirements/syslog_ng.sh
	@requirements/syslog_ng.sh $(VENV)
	@touch $@

$(STAMP)/bench: $(STAMP)/dev requirements/bench.txt
	@echo "setup: installing the peers to measure against"
	@$(BIN)/python -m pip --python $(BIN)/python install -q --require-hashes --no-deps -r requirements/bench.txt
	@touch $@

$(STAMP)/system: $(STAMP)/venv requirements/system.sh
	@requirements/system.sh
	@touch $@

$(STAMP)/kernels: $(STAMP)/run $(STAMP)/system $(wildcard addon/warehouse/scan/*.[ch] jobs/native/*.[ch]) jobs/native/compiler.py
	@$(BIN)/python -m addon.warehouse.scan >/dev/null && $(BIN)/python -m jobs.native >/dev/null && touch $@ || [ $$? -eq 3 ]

$(STAMP)/peers: $(STAMP)/venv requirements/peers.txt
	@echo "setup: installing the peers that analyses are checked against, into an environment of their own"
	@requirements/venv.sh $(PYTHON) $(VENV)/peers
	@$(BIN)/python -m pip --python $(VENV)/peers/bin/python install -q --require-hashes --no-deps -r requirements/peers.txt
	@touch $@

$(STAMP)/connect: $(STAMP)/dev requirements/connect.txt
	@echo "setup: installing the client of Spark Connect"
	@$(BIN)/python -m pip --python $(BIN)/python install -q --require-hashes --no-deps -r requirements/connect.txt
	@touch $@

$(STAMP)/clients: $(STAMP)/dev tests/clients/package.json tests/clients/package-lock.json
	@echo "setup: installing the tests' Node clients (heroku, td-js-sdk, fluent-logger)"
	@requirements/node.sh $(VENV) tests/clients
	@touch $@

setup: $(STAMP)/system $(STAMP)/run $(STAMP)/kernels ## install everything that running needs
setup-test: setup $(STAMP)/system-tests $(STAMP)/syslog-ng $(STAMP)/dev $(STAMP)/clients ## install everything that testing needs, the real heroku CLI too

demo: setup ## from git push to report: start, push the shop, send traffic, analyse, stop (KEEP=1 leaves it running)
	@$(BIN)/sluice demo $(if $(KEEP),--keep)

notebooks: $(STAMP)/dev ## run the notebooks on the add-on of `sluice env`; pages in build/notebooks
	@$(BIN)/python notebooks/render.py

lint: $(STAMP)/dev ## style, types, import contracts
	@echo "lint: style, types, import contracts"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup-test lint ## lint, then the tests (15 minutes on 2 cores at most)
	@echo "test: part 1 of 2: what may share the machine, two at a time"
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow and not serial"
	@echo "test: part 2 of 2: what needs the machine to itself"
	$(BIN)/pytest -m "serial and not slow"

test-all: setup-test $(STAMP)/bench $(STAMP)/peers $(STAMP)/connect lint ## the same with the slow tests; a skipped test is a failure
	@echo "test-all: part 1 of 2: what may share the machine, two at a time"
	$(BIN)/pytest --no-skips -n 2 --dist loadgroup -m "not serial"
	@echo "test-all: part 2 of 2: what needs the machine to itself"
	$(BIN)/pytest --no-skips -m "serial"

bench: setup $(STAMP)/bench $(STAMP)/peers ## measure against named peers; table on stdout and build/bench.json (ONLY=ingest for a part)
	@$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

fuzz: setup-test ## fuzz every parser (SECONDS_EACH=60 each), from the kept corpus
	@$(BIN)/python -m tests.fuzz all --seconds $(or $(SECONDS_EACH),60)

lock: $(STAMP)/dev ## compile requirements/*.in to hash locks
	@cd requirements && for name in run dev bench peers connect; do \
	  ../$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o $$name.txt $$name.in; done

clean: ## remove what the targets above made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis tests/clients/node_modules
