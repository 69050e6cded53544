# The front door. `make demo` and `make test` work on a fresh clone; each does its own set-up.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint bench sim lock clean

PY := .venv/bin/python
PARTS := tests/node/net tests/node/proving tests/node/cli
DEVNETS := tests/devnet tests/e2e tests/sim
FORGE := contracts/node_modules/@foundry-rs/forge-linux-amd64/bin/forge
SEEDS ?= 200
START ?= 0

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## install locked dependencies, build the contracts (nothing to do: under a second)
	@sh scripts/setup.sh >&2

demo: setup ## a devnet proves, verifies and settles one real statement (JSON=1: one JSON object)
	@$(PY) -m devnet scenario demo $(if $(JSON),--json)

test: lint ## linters, then Python and Solidity tests
	@echo "unit tests, in two groups at once: about three minutes"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-parts test-rest
	@$(PY) -m pytest $(DEVNETS)
	@cd contracts && ../$(FORGE) test

# Each group keeps about one core busy; what runs whole devnets has the machine to itself.
.PHONY: test-parts test-rest
test-parts:
	@$(PY) -m pytest -q $(PARTS)
test-rest:
	@$(PY) -m pytest -q tests $(addprefix --ignore=,$(PARTS) $(DEVNETS))

test-slow: setup ## the long runs that `make test` leaves out
	@$(PY) -m pytest -m slow

lint: setup ## formatters, linters, types, import rules
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports
	@cd contracts && ../$(FORGE) fmt --check

bench: setup ## benchmarks: JSON and the table in docs/benchmarks.md
	@$(PY) -m benchmarks

sim: setup ## the deterministic simulator (SEEDS=1000 START=5000; NODES=100: large networks)
	@$(PY) -m tests.sim --seeds $(SEEDS) --start $(START) $(if $(NODES),--nodes $(NODES))

lock: setup ## resolve requirements*.in into requirements.lock again
	@sh scripts/lock.sh

clean: ## remove what the set-up and the builds made
	@rm -rf .venv .artifacts .devnet build ./*.egg-info contracts/node_modules contracts/out contracts/cache
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
