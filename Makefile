# A newcomer needs Python and make. `make help` lists what there is.
PYTHON ?= python3
PORT ?= 8000
ARGS ?=
JOBS ?= 2
SOCKETS ?= 500

VENV := .venv
BIN := $(VENV)/bin

# Pythons that pyenv keeps are found without being activated; others have to be on PATH.
PYENV_BINS := $(shell ls -d "$$(pyenv root 2>/dev/null)"/versions/*/bin 2>/dev/null | sort -rV | paste -sd: -)
TOX = PATH="$$PATH:$(PYENV_BINS)" $(BIN)/tox

.PHONY: servers help demo screenshots test reliability coverage fuzz model lint types matrix build check-install bench bench-quick bench-instructions bench-report fanout losses soak docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      serve the example project on http://127.0.0.1:PORT/   (PORT=$(PORT))"
	@echo "make screenshots   its pages as docs/screenshots/*.png: one minute, with Chromium"
	@echo "make test      the whole test-suite, on PYTHON                       (PYTHON=$(PYTHON), ARGS: for pytest)"
	@echo "make reliability   databases under SOCKETS sockets, deploys under a thousand: three minutes  (SOCKETS=$(SOCKETS))"
	@echo "make servers   what holds on which server: run those tests, write docs/servers.md"
	@echo "make coverage  what the last 'make test' covered, and the gate"
	@echo "make fuzz      what a stranger can send, and worse          (SECONDS=120, ARGS: --seed N, names of servers)"
	@echo "make model     conversations beside a model of the contract  (SECONDS=120, ARGS: --seed N)"
	@echo "make lint      ruff, and vermin for Python 3.6"
	@echo "make types     mypy and basedpyright"
	@echo "make matrix    the test-suite on every installed Python of tox.ini  (JOBS=$(JOBS) at a time)"
	@echo "make build     wheel and sdist into dist/"
	@echo "make check-install   those two, and the README's example, in empty environments of 3.6, 3.9 and 3.13"
	@echo "make bench     what a socket costs beside other ways to serve it: ten minutes"
	@echo "make bench-quick   ours and bare ASGI, compared with the recorded run: two minutes"
	@echo "make bench-instructions   the same counted in instructions, however busy the machine: needs Valgrind"
	@echo "make bench-report  docs/performance.md and its chart from the recorded run"
	@echo "make losses    processes and engines killed in the midst of 100,000 messages: minutes  (ARGS: --messages N, --engine redis)"
	@echo "make fanout    a message to ten thousand members of a topic, and how long an echo waits"
	@echo "make soak      ten thousand idle sockets and five hundred busy ones  (SECONDS=600)"
	@echo "make docs      the pages of docs/ as a site: docs/_build/index.html"
	@echo "make clean     remove what the others made"

# The pip that comes with Python 3.6 knows neither pyproject.toml alone nor editable installs of it.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'pip==21.3.1; python_version < "3.7"' 'pip>=22; python_version >= "3.7"'

$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[runserver]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml tests/constraints.txt tests/requirements-dependents.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[runserver,test,test-once]'
	$(BIN)/python -m pip install --quiet --no-deps --requirement tests/requirements-dependents.txt
	@touch $@

$(VENV)/tox.stamp: tox.ini | $(BIN)/python
	$(BIN)/python -m pip install --quiet 'tox>=4.64'
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/manage.py migrate --verbosity 0
	@echo "The demo is at http://127.0.0.1:$(PORT)/ (Ctrl-C ends it)"
	@$(BIN)/python examples/manage.py runserver 127.0.0.1:$(PORT)

screenshots: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet pillow
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

test: $(VENV)/test.stamp
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(ARGS)

# What passes says what it has measured.
reliability: $(VENV)/test.stamp
	PISTOKE_SOCKETS=$(SOCKETS) $(BIN)/python -m pytest -rP tests/reliability $(ARGS)

servers: $(VENV)/test.stamp
	$(BIN)/python -m tests.servers.table docs/servers.md $(ARGS)

coverage: $(VENV)/test.stamp
	@if ls .coverage.* >/dev/null 2>&1; then $(BIN)/python -m coverage combine --quiet; fi
	$(BIN)/python -m coverage report

fuzz: $(VENV)/test.stamp
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),120) $(ARGS)

model: $(VENV)/test.stamp
	$(BIN)/python -m tests.fuzz model --seconds $(or $(SECONDS),120) $(ARGS)

lint: $(VENV)/tox.stamp
	@$(TOX) run -e lint

types: $(VENV)/tox.stamp
	@$(TOX) run -e types

matrix: $(VENV)/tox.stamp
	@$(TOX) run-parallel --parallel $(JOBS) --parallel-no-spinner --result-json .tox/matrix.json; \
	status=$$?; $(BIN)/python tools/matrix_summary.py .tox/matrix.json; exit $$status

build: $(VENV)/tox.stamp
	@$(TOX) run -e build

check-install: $(VENV)/tox.stamp
	@$(TOX) run -e install-py36,install-py39,install-py313

BENCH := benchmarks/.venv
EARLIER := benchmarks/.venv-earlier

$(BENCH)/bench.stamp: benchmarks/requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "expected Python 3.10 or later for the benchmarks")'
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt --editable .
	$(BENCH)/bin/python -m pip freeze --exclude-editable > $(BENCH)/constraints.txt
	@touch $@

# Django and the server in the same versions, for a fair comparison.
$(EARLIER)/bench.stamp: benchmarks/requirements-earlier.txt $(BENCH)/bench.stamp
	$(PYTHON) -m venv $(EARLIER)
	$(EARLIER)/bin/python -m pip install --quiet --constraint $(BENCH)/constraints.txt --requirement benchmarks/requirements-earlier.txt
	@touch $@

bench: $(EARLIER)/bench.stamp
	$(BENCH)/bin/python -m benchmarks.run full $(ARGS)

bench-quick: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m benchmarks.run quick

bench-instructions: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m benchmarks.run instructions

bench-report: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m benchmarks.run --report

fanout: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m benchmarks.fanout $(ARGS)

losses: $(VENV)/test.stamp
	$(BIN)/python -m benchmarks.losses $(ARGS)

SECONDS_OF_SOAK := $(or $(SECONDS),600)

soak: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m benchmarks.soak --seconds $(SECONDS_OF_SOAK) $(ARGS)

DOCS := docs/.venv

$(DOCS)/docs.stamp: docs/requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "expected Python 3.10 or later for the documentation")'
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --requirement docs/requirements.txt --editable .
	@touch $@

# A warning is an error: a link that leads nowhere, a docstring that cannot be read, a page that nobody finds.
docs: $(DOCS)/docs.stamp
	$(DOCS)/bin/python -m sphinx --fresh-env --fail-on-warning --keep-going --nitpicky --quiet docs docs/_build $(ARGS)
	@echo "The pages are in docs/_build/index.html"

clean:
	rm -rf $(VENV) $(BENCH) $(EARLIER) $(DOCS) docs/_build .tox dist build htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .hypothesis .ruff_cache
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f examples/*.sqlite3
