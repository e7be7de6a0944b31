# Everything a contributor types; `make` alone lists it.
# The first target that needs it makes .venv, from a package index. All else works offline.

PYTHON ?= python3
ARGS   ?=

VENV := .venv
BIN  := $(VENV)/bin
RUN  := $(VENV)/.run-stamp
DEV  := $(VENV)/.dev-stamp
PIP  := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The folders that hold our own code, as far as they exist yet.
CODE := $(wildcard mesh trade payment channel ledger settlement risk sim demo checker bench torture web tools)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test unit lint gen typescript docs check bench torture nightly mutants lock baseline clean

help:    ## list what make can do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12

run: $(RUN)    ## all services, PostgreSQL and NATS on this machine; ARGS=--help for more
	$(BIN)/tongbao demo $(ARGS)

test: $(DEV)    ## every test; ARGS="-k refund -x" to choose
	$(BIN)/python -m pytest $(ARGS)

unit: $(DEV)    ## the tests that need neither PostgreSQL nor NATS
	$(BIN)/python -m pytest $(wildcard tests/unit tests/tidy) $(ARGS)

lint: $(DEV)    ## style, types, contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/buf lint
	$(BIN)/buf format proto --diff --exit-code

# Into a scratch folder first: what has left proto/ leaves gen/ too, and a failed run changes nothing.
gen: $(DEV)    ## proto/ -> gen/
	rm -rf build/gen && mkdir -p build/gen gen
	PATH="$(CURDIR)/$(BIN):$$PATH" buf generate --output build
	@# Types of stubs for files that declare no service: a module that does not exist.
	@find build/gen -name '*_pb2_grpc.pyi' | while read -r types; do [ -e "$${types%i}" ] || rm "$$types"; done
	$(BIN)/buf build proto --exclude-source-info --output build/gen/tongbao.binpb
	@# In place and only what differs, so that whatever runs meanwhile finds its modules.
	@cd build/gen && find . -type f | while read -r new; do \
	  cmp -s "$$new" "../../gen/$$new" || { mkdir -p "../../gen/$$(dirname "$$new")"; cp "$$new" "../../gen/$$new"; }; done
	@cd gen && find python -type f -not -name '*.pyc' | while read -r old; do \
	  [ -e "../build/gen/$$old" ] || rm "$$old"; done

typescript: $(DEV)    ## proto/ -> gen/typescript, and the example built against it; needs node and npm
	@command -v npm >/dev/null || { echo "make typescript needs node 20 and npm" >&2; exit 1; }
	cd gen/typescript && npm ci --silent
	rm -rf build/typescript gen/typescript/src
	PATH="$(CURDIR)/$(BIN):$$PATH" buf generate --template buf.gen.typescript.yaml --output build/typescript
	mv build/typescript/src gen/typescript/src
	cd examples/typescript && npm ci --silent && npm run --silent build

docs: $(DEV)    ## contracts and state tables -> docs/reference
	@mkdir -p build
	$(BIN)/buf build proto --output build/commented.binpb
	$(BIN)/python tools/reference.py build/commented.binpb docs/reference

check: lint gen docs    ## what a change must pass besides the tests: contracts, style, types, house rules
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory typescript; \
	  else echo "no npm: gen/typescript is not checked here"; fi
	git diff --exit-code --stat -- gen docs/reference
	@extra=$$(git ls-files --others --exclude-standard -- gen docs/reference); \
	  if [ -n "$$extra" ]; then echo "not committed: $$extra"; exit 1; fi
	@if [ -e proto/baseline.binpb ]; then set -x; \
	  $(BIN)/buf breaking proto --against proto/baseline.binpb; \
	  else echo "no proto/baseline.binpb: nothing to break yet"; fi
	$(BIN)/python -m pytest -q tests/tidy

bench: $(DEV)    ## payments a second and what each costs, beside pgbench and cap 1; ARGS=--save keeps it
	$(BIN)/tongbao bench pay-wallet --home build/bench $(ARGS)
	$(BIN)/tongbao bench collect --home build/bench --no-references $(ARGS)

SEEDS ?= 3
torture: $(DEV)    ## kill, pause, cut off and rob an installation, heal it, check everything; SEEDS=20
	$(BIN)/tongbao torture --seeds $(SEEDS) $(ARGS)

# SEEDS and FROM on the command line: what the environment says is meant for torture.
nightly: SEEDS = 100
nightly: FROM = 1
nightly: $(DEV)    ## the ledger against its oracle, raced and killed, seed by seed; SEEDS=100 FROM=1
	LEDGER_SEEDS="$(FROM) $(SEEDS)" $(BIN)/python -m pytest -x -q -p tests.service.ledger.nightly \
	  tests/service/ledger $(ARGS)

mutants: $(DEV)    ## break the code on purpose; every patch in tests/mutants must turn a test red
	$(BIN)/python tools/mutants.py $(ARGS)

# uv is wanted here only: `pip install uv` anywhere on the path. No addresses, no comments on origin.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header
lock:    ## requirements/*.in -> requirements/*.txt with hashes (needs uv)
	$(LOCK) requirements/run.in --output-file requirements/run.txt
	$(LOCK) requirements/dev.in --output-file requirements/dev.txt

baseline: gen    ## at a release: later contracts must stay readable to callers of this one
	cp gen/tongbao.binpb proto/baseline.binpb

clean:    ## forget everything that make made, .venv too
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(RUN): requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Tongbao needs Python 3.11 or newer as '$(PYTHON)'; try: make PYTHON=python3.12" >&2; exit 1; }
	@[ -x $(BIN)/python ] || echo "making $(VENV) (about 500 MB, once) ..."
	@$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -rf tongbao.egg-info
	@# Both roots by path as well: a folder made after the install is importable at once.
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; \
	  pathlib.Path(sysconfig.get_path("purelib"), "tongbao-tree.pth").write_text("\n".join(sys.argv[1:]) + "\n")' \
	  '$(CURDIR)' '$(CURDIR)/gen/python'
	@touch $@

$(DEV): $(RUN) requirements/dev.txt
	$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
