# `make` lists the targets. The environment is .venv, made on first use.
.DEFAULT_GOAL := help
.PHONY: help run check test rehearse rehearse-shell lint format bench attack readme screenshot lock clean
.DELETE_ON_ERROR:

PYTHON ?= python3
export PYTHON
BIN := .venv/bin
SCRIPTS = $(wildcard deployment/*.sh requirements/*.sh tools/benchmarks/peers/*.sh tools/rehearsal/*.sh) .ci/run
# All CPUs; the tests of one file stay together, for what they share is made once. Files in order of
# their names, as it happens the slow ones first: by number of tests, one CPU would end minutes later.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
LOCKS := $(addprefix requirements/,backend.txt frontend.txt compile.txt torch.txt)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: .venv/run.stamp $(if $(filter int8,$(PRECISION)),.venv/quantize.stamp)  ## start a backend and its page: VERSION=v1, v2 or v3, BACKEND_PORT=8000
	@exec $(BIN)/python -m tools.run

check: lint  ## quick checks: lint, and the tests that import no torch and start no service
	$(BIN)/python -m pytest -q $(PARALLEL) tests/unit tests/conventions

test: .venv/dev.stamp  ## run every test, or some: ARGS="tests/unit -k url"; FULL=1 adds large models and coverage
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),$(PARALLEL) --durations=10 $(if $(FULL),--cov,-m "not large"))

rehearse: .venv/dev.stamp  ## run deployment/ against stand-ins for Google Cloud: ARGS=v1
	@exec $(BIN)/python -m tools.rehearsal $(ARGS)

rehearse-shell: .venv/dev.stamp  ## a shell in which to try deployment/ by hand, on the stand-ins
	@exec $(BIN)/python -m tools.rehearsal --shell $(ARGS)

lint: .venv/dev.stamp  ## check style, types and shell scripts
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	echo $(SCRIPTS) | xargs -n 4 -P 4 $(BIN)/shellcheck

format: .venv/dev.stamp  ## rewrite Python files in one style
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: .venv/dev.stamp  ## measure ours beside other servers: QUICK=1 for minutes, PARTS="limit cold", PHOTOS=folder, MATRIX_UNITS=0
	@$(if $(filter-out 0,$(QUICK)),,tools/benchmarks/peers/install.sh original litserve bentoml)
	@$(BIN)/python -m tools.benchmarks $(PARTS) $(if $(filter-out 0,$(QUICK)),--quick) $(if $(PHOTOS),--photos $(PHOTOS)) \
	  $(if $(filter 0,$(MATRIX_UNITS)),--without-matrix-units)

attack: .venv/dev.stamp  ## attack a backend and write docs/reliability.md: ARGS=--quick for minutes, writes nothing
	@exec $(BIN)/python -m tools.attack $(if $(ARGS),$(ARGS),--out docs/reliability.md)

readme: .venv/run.stamp  ## write the tables of settings into docs/settings.md
	$(BIN)/python -m tools.documents docs/settings.md

screenshot: .venv/dev.stamp  ## take the README's picture of the page anew: needs Chromium
	CI=true SCREENSHOT=frontend_v1/screenshot.png $(BIN)/python -m pytest -q tests/services/test_frontend_v1.py -k picture_of_the_page

lock: .venv/dev.stamp  ## write requirements/*.txt from pyproject.toml: UPGRADE=1 for newer versions
	requirements/lock.sh

clean:  ## remove the environment and everything else that was made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.* htmlcov build *.egg-info .bench .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says that the install before it ended well.
.venv/run.stamp: pyproject.toml $(LOCKS) requirements/install.sh
	@requirements/install.sh backend frontend compile
	@touch $@

.venv/quantize.stamp: .venv/run.stamp requirements/quantize.txt
	@requirements/install.sh quantize
	@touch $@

.venv/dev.stamp: .venv/quantize.stamp requirements/onnx.txt requirements/dev.txt
	@requirements/install.sh onnx dev
	@touch $@
