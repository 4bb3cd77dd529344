# Everything one does with this checkout. Needs Python 3.11 or newer and GNU make; fetches the rest, by hash.
# PYTHON=python3.12 picks the interpreter, ARGS="--port 9000" passes arguments on.

PYTHON       ?= python3
TEST_WORKERS ?= 2
ARGS         ?=
SEEDS        ?= 1..1000
ORDERS       ?= 1000
CYCLES       ?= 1000
CLAIMS       ?= 110000
REFUNDS      ?= 12000
ROUNDS       ?= 10
SEED         ?=
RUNS         ?= 1000000
TARGET       ?= all

BIN         := .venv/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-input
# Locks name versions and hashes, never where to download from: that is the machine's own business.
PIP_COMPILE := CUSTOM_COMPILE_COMMAND="make lock" .tools/pip-tools/bin/pip-compile --quiet --upgrade \
               --strip-extras --allow-unsafe --generate-hashes \
               --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

MAKEFLAGS     += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check simulate replay mutants reliability kill9 contend failover fuzz bench lock sdk-tools clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

demo: .venv/.run ## start gateway, sandbox and console on this machine, and print how to pay
	@exec $(BIN)/paymux demo $(ARGS)

test: .venv/.dev sdk-tools ## run every test but the slow ones
	@$(BIN)/python -m pytest --quiet -n $(TEST_WORKERS) -m "not slow" $(ARGS)

check: .venv/.dev ## lint, format, types, walls, rules of the house
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "ruff format would change files: run $(BIN)/ruff format"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > .venv/walls.txt || { cat .venv/walls.txt; exit 1; }
	@$(BIN)/python -m pytest --quiet -n $(TEST_WORKERS) tests/house

simulate: .venv/.dev ## live through the days of SEEDS, ORDERS customers each, under every fault; no promise may break (ARGS="--database postgresql": on a server)
	@$(BIN)/python -m tests.simulation --seeds "$(SEEDS)" --orders "$(ORDERS)" --jobs $(TEST_WORKERS) $(ARGS)

replay: .venv/.dev ## live each day of SEEDS twice, in other orders and under other hash seeds: the histories must be equal
	@$(BIN)/python -m tests.simulation.replay --seeds "$(SEEDS)" $(ARGS)

mutants: .venv/.dev ## plant each known money bug in a copy of the source: the simulation must catch it
	@$(BIN)/python -m tests.mutants --jobs $(TEST_WORKERS) $(ARGS)

reliability: .venv/.dev ## write docs/reliability.md anew from the figures of the last long runs
	@$(BIN)/python -m tests.reliability

kill9: .venv/.dev ## kill the gateway CYCLES times under load (SEED repeats a run), and weigh the books
	@$(BIN)/python -m tests.kill9 --cycles "$(CYCLES)" --seed "$(SEED)" $(ARGS)

contend: .venv/.dev ## let processes fight on PostgreSQL for CLAIMS pieces of work and REFUNDS refunds (SEED repeats a run)
	@$(BIN)/python -m tests.contention --claims "$(CLAIMS)" --refunds "$(REFUNDS)" --seed "$(SEED)" $(ARGS)

failover: .venv-failover/.made .tools/etcd/.made ## kill, freeze and swap the leader of three PostgreSQL servers ROUNDS times each (SEED repeats a run)
	@PYTHONPATH=src .venv-failover/bin/python -m tests.failover --rounds "$(ROUNDS)" --seed "$(SEED)" $(ARGS)

fuzz: .venv-fuzz/.made ## try RUNS inputs, led by coverage, on each parser of outside bytes (or TARGET)
	@PYTHONPATH=src .venv-fuzz/bin/python -m tests.fuzz --runs "$(RUNS)" $(addprefix --target ,$(TARGET)) $(addprefix --seed ,$(SEED)) $(ARGS)

bench: .venv-bench/.made ## measure, and compare with what the machine can do at all
	@PYTHONPATH=src .venv-bench/bin/python -m bench.run $(ARGS)

lock: .tools/pip-tools/.made ## choose newer versions and write them down with their hashes
	@$(PIP_COMPILE) --build-deps-for editable --output-file requirements.lock pyproject.toml
	@$(PIP_COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	@$(PIP_COMPILE) --extra bench --constraint requirements.lock --output-file requirements-bench.lock pyproject.toml
	@$(PIP_COMPILE) --extra fuzz --constraint requirements.lock --output-file requirements-fuzz.lock pyproject.toml
	@$(PIP_COMPILE) --extra failover --constraint requirements.lock --output-file requirements-failover.lock pyproject.toml
	@$(PIP_COMPILE) --output-file tests/sdk/python/alipay-sdk.lock tests/sdk/python/alipay-sdk.in
	@$(PIP_COMPILE) --output-file tests/sdk/python/wechatpy.lock tests/sdk/python/wechatpy.in
	@cd tests/sdk/npm && npm install --package-lock-only --silent

sdk-tools: .tools/alipay-sdk/.made .tools/wechatpy/.made .tools/npm/.made ## fetch the SDKs others wrote, which our tests drive

clean: ## remove what make made; data stays
	@rm -rf .venv .venv-bench .venv-fuzz .venv-failover .tools dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the tools; each stamp is newer than the lock it was made from

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "paymux needs Python 3.11 or newer. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "making .venv (once)" >&2
	@$(PYTHON) -m venv .venv
	@touch $@

# The package itself is installed without build isolation: its build tool comes from the lock like everything else.
.venv/.run: requirements.lock pyproject.toml | .venv/.made
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

# An environment of its own: what we compare with stays out of ours. The gateway runs in it from src.
.venv-bench/.made: requirements-bench.lock | .venv/.made
	@$(BIN)/python -m venv .venv-bench && echo '*' > .venv-bench/.gitignore
	@.venv-bench/bin/python $(PIP_INSTALL) --require-hashes -r requirements-bench.lock
	@touch $@

# Of its own, too: the fuzzer brings a compiled library for few kinds of machine.
.venv-fuzz/.made: requirements-fuzz.lock | .venv/.made
	@$(BIN)/python -m venv .venv-fuzz && echo '*' > .venv-fuzz/.gitignore
	@.venv-fuzz/bin/python $(PIP_INSTALL) --require-hashes -r requirements-fuzz.lock
	@touch $@

# Of its own, too: Patroni brings a second driver for PostgreSQL, which must not come near the gateway.
.venv-failover/.made: requirements-failover.lock | .venv/.made
	@$(BIN)/python -m venv .venv-failover && echo '*' > .venv-failover/.gitignore
	@.venv-failover/bin/python $(PIP_INSTALL) --require-hashes -r requirements-failover.lock
	@touch $@

# Debian's package, which needs no installing: one program, taken out of the archive that apt has verified.
.tools/etcd/.made:
	@mkdir -p $(@D)
	@if command -v etcd > /dev/null; then ln -sf "$$(command -v etcd)" $(@D)/etcd; \
	elif command -v apt-get > /dev/null && cd $(@D) && apt-get -qq -o APT::Sandbox::User= download etcd-server; then \
	  dpkg -x etcd-server_*.deb . && rm -f etcd-server_*.deb && ln -sf usr/bin/etcd etcd; \
	else echo "etcd is needed, and apt could not fetch it: install etcd"; exit 1; fi
	@touch $@

.tools/pip-tools/.made: | .venv/.made
	@$(BIN)/python -m venv .tools/pip-tools
	@.tools/pip-tools/bin/python $(PIP_INSTALL) pip-tools==7.6.2
	@touch $@

# One environment per SDK: they were written by others and want other versions than we do.
.tools/%/.made: tests/sdk/python/%.lock | .venv/.made
	@echo "making .tools/$* (once)" >&2
	@$(BIN)/python -m venv .tools/$*
	@.tools/$*/bin/python $(PIP_INSTALL) --require-hashes -r $<
	@touch $@

# Without npm, or without a registry, the npm tests skip and say so; next time make tries again.
.tools/npm/.made: tests/sdk/npm/package.json tests/sdk/npm/package-lock.json tests/sdk/npm/.npmrc
	@mkdir -p $(@D) && cp $^ $(@D)
	@if ! command -v npm > /dev/null; then echo "npm is not installed: the tests that drive npm SDKs will skip"; \
	elif cd $(@D) && npm ci --silent; then touch .made; \
	else echo "npm could not fetch the SDKs: the tests that drive them will skip"; fi
