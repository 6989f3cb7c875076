# make tour: install and see it work.  make test: install and check everything.
# make check: lint, and the tests that the last changes can break, in under three minutes.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/souron-installed

.PHONY: tour test check begin lint unit browser docs notebooks locale benchmarks clean

tour: $(SETUP)
	-$(BIN)/souron fetch fashion
	$(BIN)/souron tour

test: begin lint unit docs
	@$(BIN)/python tests/affected.py green

check: lint
	$(BIN)/python tests/affected.py

begin: $(SETUP)
	@$(BIN)/python tests/affected.py begin

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(SETUP) browser
	$(BIN)/pytest

browser:  # for the tests of the studio's pages; without one they are skipped and say so
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update --quiet >/dev/null && apt-get install --yes --quiet --no-install-recommends chromium fonts-noto-cjk >/dev/null; } \
	  || echo "no chromium: the tests in a browser will be skipped (apt-get install chromium)"

docs: $(SETUP)
	$(BIN)/python docs/build.py

notebooks: $(SETUP)  # after the text of a lesson in notebooks/source has changed
	$(BIN)/python notebooks/build.py

locale: $(SETUP)  # after a message has changed; then translate what it names, and run it again
	$(BIN)/python tests/messages.py

benchmarks: .venv-bench/souron-installed

$(SETUP): pyproject.toml constraints.txt zoo/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]' --editable zoo
	touch $@

.venv-bench/souron-installed: benchmarks/requirements.txt pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable . --requirement benchmarks/requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-bench build *.egg-info docs/_build docs/systems docs/reference
