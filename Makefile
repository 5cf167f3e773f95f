# Everything a developer runs. `make demo` and `make test` set up a fresh machine by themselves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The node pack's maths needs torch; where it cannot be had its tests are skipped, and say so.
TORCH ?= torch==2.13.0 torchsde==0.2.6
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: setup test-setup demo test check format bench chaos parity test-comfyui snapshots tables clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	touch $@

test-setup: $(STAMP)
	$(BIN)/python -c 'import torch, torchsde' 2>/dev/null || $(PIP) $(TORCH) \
		|| echo 'no torch: the tests of the node pack will be skipped'

demo: setup
	$(BIN)/python tools/demo.py

test: test-setup
	$(BIN)/python -m pytest -n auto

check: test-setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m bench

chaos: setup
	$(BIN)/python -m bench.chaos

parity: setup
	$(BIN)/python -m tests.comfyui.parity --comfyui '$(COMFYUI_DIR)' \
		$(if $(GOLDENS),--goldens '$(GOLDENS)') $(if $(OUT),--out '$(OUT)') \
		$(if $(FAMILY),--family '$(FAMILY)')

test-comfyui: setup
	$(BIN)/python -m pytest -m comfyui tests/comfyui -n 0 --timeout 1800

# Keep what the corpus' requests become now; read the difference before committing it.
snapshots: setup
	$(BIN)/python -m tests.corpus --write

# Write the tables of README and docs from the translator's data.
tables: setup
	$(BIN)/python -m tools.tables

clean:
	rm -rf $(VENV) out .cache .mypy_cache .ruff_cache .pytest_cache
