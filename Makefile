# `make demo` and `make test` do all the set-up themselves on a fresh machine with Python 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out

# Ships once it is trained; until then the demo leaves the enhancer out.
ENHANCER := $(wildcard src/glesam/models/weights/compact-enhancer/config.json)

.PHONY: demo test coverage test-slow fuzz lint env docs clean

demo: $(VENV)/.runtime
	$(BIN)/glesam segment examples/photos/coffee.jpg --box 75,15,485,390 --overlay --json --overwrite -o $(OUT)
	@echo "Look at $(OUT)/coffee.overlay.png"
ifneq ($(ENHANCER),)
	$(BIN)/python benchmarks/enhance_gallery.py --out $(OUT)/enhance.jpg
	@echo "Degraded images without and with the enhancer: $(OUT)/enhance.jpg"
endif

test: $(VENV)/.dev
	# Two processes, whole files each, so that a file's server or model is made once.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# The suite with every line traced, which takes longer.
coverage: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --cov=glesam --cov-report=term:skip-covered --cov-fail-under=85

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

# As the fuzz tests of the suite, with new files each time; FUZZ is how many times as many.
FUZZ ?= 50
fuzz: $(VENV)/.dev
	GLESAM_FUZZ=$(FUZZ) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz --timeout=7200

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

env: $(VENV)/.dev

$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# torch first: with the pinned one there, nothing else may pull another build.
	# TORCH_INDEX=https://download.pytorch.org/whl/cpu takes the CPU build, where the default index has CUDA's.
	$(BIN)/python -m pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,train,evaluate]"
	touch $@

docs:
	# An environment of its own: the site is made from the sources, without torch.
	test -x .venv-docs/bin/mkdocs || ($(PYTHON) -m venv .venv-docs && .venv-docs/bin/pip install --quiet -r docs/requirements.txt)
	.venv-docs/bin/mkdocs build --strict
	@echo "Look at it with: python3 -m http.server -d site"

clean:
	rm -rf $(OUT) site build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
