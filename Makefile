# Every target makes .venv by itself when it is missing. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

BIN := .venv/bin
INSTALLED := .venv/.installed
CLIENT := clients/python
CHECKED := $(wildcard pricing_server $(CLIENT)/llmpricing tests benchmarks examples scripts)
# What callers rely on: the contract may add to it and break none of it.
CONTRACT := proto/contract.binpb
export PATH := $(CURDIR)/$(BIN):$(PATH)

# $(call missing,REASON): a loud skip for people, a failure where CI=true.
missing = { echo "SKIPPED $@: $(1)" >&2; [[ "$${CI:-}" != true ]]; exit; }

# Each process has a Postgres of its own, and much of the suite waits for one.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=worksteal

# Payloads that were recorded from price APIs. They are not part of the repository.
RECORDINGS := $(or $(PRICING_TEST_SHARED),../shared)/recorded

NO_BUF := no buf on PATH and no wheel of buf-bin for this machine

.PHONY: help serve test test-recorded unit torture check lint types imports lint-proto breaking contract-image stubs proto provider-docs coverage clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

serve: $(INSTALLED) ## start the server; PRICING_* set it up, Ctrl-C stops it
	@exec $(BIN)/pricing-server serve

test: $(INSTALLED) ## run all tests that need nothing but this clone
	@exec $(BIN)/python -m pytest $(PARALLEL) -m 'not recorded'

test-recorded: $(INSTALLED) ## run the tests on recorded payloads: [PRICING_TEST_SHARED=../shared]
	@[[ -d "$(RECORDINGS)" ]] || { echo "no recordings at $(RECORDINGS); PRICING_TEST_SHARED names the directory that has them" >&2; exit 1; }
	@exec $(BIN)/python -m pytest $(PARALLEL) -m recorded

unit: $(INSTALLED) ## run those tests that start neither server nor database
	@exec $(BIN)/python -m pytest $(PARALLEL) -m 'not integration and not recorded'

torture: $(INSTALLED) ## hostile names, then servers and Postgres broken under the change stream: [MINUTES=10] [SEED=123]
	@PRICING_TEST_NAMES=10000 $(BIN)/python -m pytest -q tests/unit/test_matching_laws.py -k hostile
	@exec $(BIN)/python -m tests.integration.torture $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

check: lint types imports lint-proto breaking stubs ## everything that looks at code without running it

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python scripts/check_sizes_and_names.py

types: $(INSTALLED)
	$(BIN)/mypy $(CHECKED)

imports: $(INSTALLED)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_layout.py

lint-proto: $(INSTALLED)
	@command -v buf >/dev/null || $(call missing,$(NO_BUF)); \
	buf lint proto && echo "the contract passes buf lint"

breaking: $(INSTALLED)
	@command -v buf >/dev/null || $(call missing,$(NO_BUF)); \
	buf breaking proto --against $(CONTRACT) && echo "the contract breaks nothing of $(CONTRACT)"

contract-image: $(INSTALLED) ## renew the image that `make breaking` compares with, on purpose only
	$(BIN)/buf build proto -o $(CONTRACT)

# Exit code 3 of the script: this machine cannot run the generators.
stubs: $(INSTALLED)
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	code=0; PYTHON=$(BIN)/python scripts/generate_stubs.sh "$$fresh" || code=$$?; \
	if [[ $$code == 3 ]]; then $(call missing,the pinned generators cannot be installed for this Python); fi; \
	[[ $$code == 0 ]] || exit $$code; \
	diff -u --exclude=__init__.py --exclude=__pycache__ $(CLIENT)/llmpricing/v1 "$$fresh/llmpricing/v1" \
	    || { echo "stubs are not up to date with proto/: run make proto" >&2; exit 1; }; \
	echo "stubs are up to date"

proto: $(INSTALLED) ## generate the stubs from proto/
	PYTHON=$(BIN)/python scripts/generate_stubs.sh

provider-docs: $(INSTALLED) ## generate docs/providers.md from the declarations of sources
	$(BIN)/python -m pricing_server.providers.documentation

coverage: $(INSTALLED) ## print how many models of how many sellers the sources price offline
	@exec $(BIN)/python -m tests._coverage

clean: ## remove environments, caches and builds; the server's data stays
	rm -rf .venv .venv-proto .venv-stubs .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf build dist $(CLIENT)/build $(CLIENT)/dist
	find pricing_server $(CLIENT) tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Both distributions in one call, so that neither is looked for in a registry.
# The stamp is written last: an interrupted installation is done again.
$(INSTALLED): pyproject.toml $(CLIENT)/pyproject.toml
	@python=; \
	for candidate in python3 python3.13 python3.12 python3.11; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	[[ -n $$python ]] || { echo "Python 3.11 or newer is needed, as python3 or python3.11 to python3.13 on PATH" >&2; exit 1; }; \
	$$python -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "$$python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making .venv with $$($$python --version)"; $$python -m venv --clear .venv; }; \
	echo "installing into .venv (once; about a minute)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e $(CLIENT) -e '.[dev]'
	@touch $@
