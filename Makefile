# The two commands of this project are `make quickstart` and `make test`. Each works alone on a
# machine with Python >= 3.11. VENV= names another place for the environment.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: quickstart test chaos bench lint format clean

quickstart: $(VENV)/.installed  ## the full 32-cell grid on real digits, and its table
	$(BIN)/stn-cluster run configs/quickstart.yaml

test: lint  ## everything that must hold; pytest's summary comes last
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

chaos: $(VENV)/.installed-dev  ## 2,000 cells, 102 kills, a crash at every write, and more: an hour
	$(BIN)/python -m pytest -m chaos
	$(BIN)/python jobs/benchmarks/chaos.py

bench: $(VENV)/.installed-dev  ## what a cell costs beside its training, Ray Tune beside it; the server
	$(BIN)/python jobs/benchmarks/overhead.py
	$(BIN)/python jobs/benchmarks/serving.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed; name one with PYTHON=, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster]'
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster,ray-jobs,dev]'
	@touch $@ $(VENV)/.installed
