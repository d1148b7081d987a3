# Everything a newcomer needs: `make up` sets the machine up and runs the example, `make test` runs the tests.
.DEFAULT_GOAL := help
SHELL := /bin/bash

CAPSA := build/capsa

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing; build kernel, guest and VMM (the targets below begin with it)
	@scripts/setup

setup-dev:
	@scripts/setup dev

up: setup ## boot a sandbox and run the steps of examples/python in it
	@$(CAPSA) up --file examples/python/capsa.toml

test: setup-dev ## unit, type, sandbox and fuzz tests
	@tests/run

test-lab: setup-dev ## the tests that need a true /dev/kvm, in an emulated machine that has one
	@tests/run lab

lab: setup-dev ## a shell in that machine
	@tests/lab/lab.sh shell

lint: setup-dev ## formatting, static checks and types, for TypeScript and C
	@tests/lint

format: setup-dev ## put TypeScript and C into the project's format
	@node_modules/.bin/biome check --write .
	@git ls-files '*.c' '*.h' | xargs clang-format -i

docs: ## make docs/api of the docstrings, and the tables of docs/steps.md of the kinds of steps
	@scripts/reference/make
	@node_modules/.bin/bun tests/docs/steps.ts

bench: setup-dev ## measure beside the peers: a table here, JSON in tests/bench/results.json
	@node_modules/.bin/bun tests/bench/main.ts

bench-lab: setup-dev ## measure on a true /dev/kvm, in the lab: JSON in tests/bench/results-lab.json
	@node_modules/.bin/bun tests/bench/lab/main.ts

soak: setup-dev ## connections, databases, 32 sandboxes at random work; then tools in shares: two hours
	@node_modules/.bin/bun tests/soak/main.ts
	@CAPSA_SOAK=1 tests/run tests/sandbox/files

clean: ## remove what was built here (the user's kernel cache stays)
	@rm -rf build node_modules tests/bench/results*.json

.PHONY: help setup setup-dev up test test-lab lab lint format docs bench bench-lab soak clean
