# Everything a developer runs. `make demo` and `make test` set up a fresh machine by themselves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := .cache/node
# The node pack's maths needs torch; TORCH=no leaves it out, and its tests are skipped.
TORCH ?= yes

.PHONY: setup test-setup browser demo demo-server test test-fast check format bench chaos parity test-comfyui \
	snapshots tables lock resolve signatures clean

setup:
	@$(PYTHON) tools/environment.py develop

# Where npm is there, with a client of A1111's API from npm; without it that test is skipped.
test-setup:
	@$(PYTHON) tools/environment.py develop --torch $(TORCH)
	@test -d $(NODE)/node_modules || ! command -v npm >/dev/null \
		|| (mkdir -p $(NODE) && cp tests/server/package.json $(NODE) \
			&& npm install --silent --no-audit --no-fund --prefix $(NODE)) \
		|| echo 'no client from npm: its test will be skipped'

# A handful of packages; seconds where they have been downloaded before.
demo:
	@$(PYTHON) tools/environment.py demo
	@$(BIN)/python -m tools.demo

# A1111's API on 127.0.0.1:7860: before the ComfyUI of COMFYUI_URL, or a development server.
demo-server: setup
	@$(BIN)/python -m tools.demo_server

# All tests that need no ComfyUI: six minutes on two cores.
test: test-setup
	@$(BIN)/python -m pytest -n auto

# A Chromium for the tests in a browser, where Debian's packages can be had; they are skipped else.
browser:
	@command -v chromium google-chrome chromium-browser >/dev/null \
		|| (test "$$(id -u)" = 0 && apt-get update -qq \
			&& apt-get install -qq -y --no-install-recommends chromium >/dev/null) \
		|| echo 'no Chromium: the tests in a browser will be skipped'

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
		$(if $(FAMILY),--family '$(FAMILY)') $(if $(CASES),--cases '$(CASES)') \
		$(if $(SAMPLE),--sample '$(SAMPLE)')

test-comfyui: setup
	$(BIN)/python -m pytest -m comfyui tests/comfyui -n 0 --timeout 1800

# The image's packages: resolve docker/requirements.in anew, or check that every pin can be had.
lock: setup
	$(BIN)/python -m tools.lock $(if $(UPGRADE),--upgrade)

resolve: setup
	$(BIN)/python -m tools.lock --check

# Bundle the node signatures of a running ComfyUI with the packs: make signatures URL=http://...
signatures: setup
	$(BIN)/python -m tools.signatures --url '$(URL)'

# Keep what the corpus' requests become now; read the difference before committing it.
snapshots: setup
	$(BIN)/python -m tests.corpus --write

# Write the tables of README and docs from the translator's data, and the node pack's copies of
# what it shares with the translator.
tables: setup
	$(BIN)/python -m tools.tables
	$(BIN)/python -m tools.pack_shared

clean:
	rm -rf $(VENV) out .cache .mypy_cache .ruff_cache .pytest_cache
