# make tour: install and see it work.  make test: install, and check what is quick; TESTS=all: everything.
# make check: lint, and the tests that the last changes can break, in under three minutes.
# TORCH=cpu or TORCH=cuda chooses PyTorch's build; without it the CPU build where no NVIDIA card is.
PYTHON ?= python3
TORCH ?=
TESTS ?= quick
BIN := .venv/bin
RUN := $(BIN)/python tests/supervise.py  # ends what a command leaves behind, also after Ctrl-C
export PYTHONDONTWRITEBYTECODE :=  # with it, each of a thousand processes would compile everything anew

ifeq ($(filter quick all,$(TESTS)),)
$(error TESTS=$(TESTS): there are TESTS=quick, the default, and TESTS=all)
endif

.PHONY: tour test check begin lint style types scripts unit reading browser strace docs pages notebooks locale mutants starters wheels benchmarks clean install install-dev

tour: install
	$(BIN)/souron tour

test: begin style scripts
	@$(MAKE) --no-print-directory --jobs 2 unit reading
	@$(BIN)/python tests/frame.py
	@$(BIN)/python tests/affected.py green

check: lint
	$(RUN) $(BIN)/python tests/affected.py

begin: install-dev
	@$(BIN)/python tests/affected.py begin

install install-dev:
	@command -v "$(PYTHON)" >/dev/null || { echo "souron needs Python 3.11 or later, and no $(PYTHON) is here:" \
	  "install it from https://www.python.org/downloads/ or with your system's packages."; exit 1; }
	@"$(PYTHON)" install.py --torch=$(TORCH) $(if $(filter install-dev,$@),--dev)

lint: style types scripts

style: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

scripts: export DENO_DIR := build/deno
scripts: export DENO_NO_UPDATE_CHECK := 1
scripts: install-dev  # JavaScript, by deno.jsonc; without Deno a laptop goes on, continuous integration does not
	@if [ ! -x $(BIN)/deno ]; then \
	  echo "no deno: JavaScript is not checked ($(BIN)/pip install deno)"; [ "$$CI" != true ]; \
	else $(BIN)/deno lint --quiet && $(BIN)/deno check --quiet --no-remote --no-npm; fi

reading: types $(if $(filter all,$(TESTS)),docs,pages)  # beside the tests, which leave a core idle now and then
	$(RUN) $(BIN)/python tests/mutants/run.py --some 3

unit: install-dev browser strace
	$(RUN) $(BIN)/pytest --tests=$(TESTS)

browser:  # for the tests of the studio's pages; without one they are skipped and say so
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update --quiet >/dev/null && apt-get install --yes --quiet --no-install-recommends chromium fonts-noto-cjk >/dev/null; } \
	  || echo "no chromium: the tests in a browser will be skipped (apt-get install chromium)"

strace:  # for the test that no engine opens a connection
	@command -v strace >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update --quiet >/dev/null && apt-get install --yes --quiet --no-install-recommends strace >/dev/null; } \
	  || echo "no strace: the test of connections will be skipped (apt-get install strace)"

docs: install-dev
	$(BIN)/python docs/build.py

pages: install-dev  # reads all pages of the documentation, and writes none
	$(BIN)/python docs/build.py --brief

notebooks: install-dev  # after a lesson in notebooks/source has changed: write both languages, run each in full
	$(BIN)/python notebooks/build.py
	$(BIN)/python benchmarks/lessons.py

mutants: install-dev  # make mutants NAME=tour, or all: each removes a mechanism, and a test must fail
	$(RUN) $(BIN)/python tests/mutants/run.py $(or $(NAME),all)

locale: install-dev  # after a message has changed; then translate what it names, and run it again
	$(BIN)/python tests/messages.py

starters: install  # the published networks of souron-starters that are not there yet
	$(BIN)/python starters/convert.py

wheels: install-dev  # souron, souron-zoo, souron-starters and those of packages/, into dist/
	$(BIN)/python starters/convert.py
	rm -rf build zoo/build starters/build packages/*/build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . ./zoo ./starters ./packages/*

benchmarks: .venv-bench/souron-installed

.venv-bench/souron-installed: benchmarks/requirements.txt pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable . --requirement benchmarks/requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-bench build zoo/build starters/build packages/*/build starters/souron_starters/*.safetensors dist *.egg-info docs/_build docs/systems docs/reference
