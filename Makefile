# `make demo` and `make test` need python3 (3.11 or later) with venv, make and git; everything else they install into .venv.
VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
COMPILE := $(VENV)/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header

.PHONY: demo manage test lint lock clean install bench bench-pages bench-neighbour bench-sync kill-imports crash chaos

demo: $(INSTALLED)  ## start everything; Ctrl-C ends it
	@exec $(PYTHON) -m engage.demo

manage: $(INSTALLED)  ## a command of manage.py on the demo's data (ARGS="sync_subscriptions --app streamly")
	@$(PYTHON) -m engage.demo $(ARGS)

test: $(INSTALLED)  ## the whole test suite; the browser's tests need Chromium and skip without it
	$(PYTHON) -m pytest -n auto

bench: $(INSTALLED)  ## the engine beside the bare thing: embedded, then on a PostgreSQL and a Redis of its own (BENCH="--only ingestion")
	@env -u DATABASE_URL -u CELERY_BROKER_URL -u CACHE_URL $(PYTHON) -m bench.engine $(BENCH)
	@$(PYTHON) -m chaos.servers $(PYTHON) -m bench.engine $(BENCH)

bench-pages: $(INSTALLED)  ## pages of Live at ten thousand and at ten million executions (BENCH="--many 1000000")
	@$(PYTHON) -m chaos.servers $(PYTHON) -m bench.pages $(BENCH)

bench-neighbour: $(INSTALLED)  ## does a connection that misbehaves slow down another one? Embedded, then on servers of its own
	@env -u DATABASE_URL -u CELERY_BROKER_URL -u CACHE_URL $(PYTHON) -m bench.neighbour
	@$(PYTHON) -m chaos.servers $(PYTHON) -m bench.neighbour

kill-imports: $(INSTALLED)  ## kill an import 100 times at random moments, and compare with an undisturbed one
	ENGAGE_IMPORT_KILLS=100 $(PYTHON) -m pytest tests/sync/test_killed_imports.py

bench-sync: $(INSTALLED)  ## imports of 1 million rows beside the databases' own tools (BENCH="--rows 200000 --only sqlite")
	$(PYTHON) -m bench.sync $(BENCH)

crash: $(INSTALLED)  ## kill a process at every crash point, with every kind of action, on both databases
	$(PYTHON) -m pytest tests/crash --all-crashes
	$(PYTHON) -m chaos.servers $(PYTHON) -m pytest tests/crash --all-crashes

chaos: $(INSTALLED)  ## 10,000 answers while vendors misbehave and everything is killed 500 times (CHAOS="--events 200 --kills 10")
	@$(PYTHON) -m chaos $(CHAOS)

lint: $(INSTALLED)  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

lock: $(INSTALLED)  ## pin anew what pyproject.toml allows
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

install: $(INSTALLED)  ## .venv with everything that is pinned

$(INSTALLED): requirements-dev.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Engage needs Python 3.11 or later."; exit 1; }
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

clean:  ## remove .venv and caches; the demo's data in var/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
