# Everything a developer runs. `make demo` and `make test` set up a fresh machine by themselves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The node pack's maths needs torch; TORCH=no leaves it out, and its tests are skipped.
TORCH ?= yes

.PHONY: setup test-setup demo test test-fast check format bench chaos parity test-comfyui \
	snapshots tables clean

setup:
	@$(PYTHON) tools/environment.py develop

test-setup:
	@$(PYTHON) tools/environment.py develop --torch $(TORCH)

# Five small packages; seconds where they have been downloaded before.
demo:
	@$(PYTHON) tools/environment.py demo
	@$(BIN)/python -m tools.demo

# All tests that need no ComfyUI: about three minutes on two cores.
test: test-setup
	@$(BIN)/python -m pytest -n auto

# The same without those that wait, kill servers or try hundreds of random requests: a minute.
test-fast: setup
	@$(BIN)/python -m pytest -n auto -m 'not slow'

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
