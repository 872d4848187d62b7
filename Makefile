# The two commands of this project are `make quickstart` and `make test`. Each works alone on a
# machine with Python >= 3.11. VENV= names another place for the environment.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
COMMA := ,
# Of pip's hundreds of lines, those on the large packages, which take all the time. pip writes its
# errors to stderr, which is shown whole. The pipe's status is sed's, so a file tells of success.
FILTER := sed -nu -e 's/^ *Downloading \([A-Za-z0-9_.]*\)-[^ ]* (\([0-9][0-9][0-9.]* MB\|[0-9.]* GB\)).*/  downloading \1: \2/p' \
  -e 's/^ *Using cached \([A-Za-z0-9_.]*\)-[^ ]* (\([0-9][0-9][0-9.]* MB\|[0-9.]* GB\)).*/  \1: \2, downloaded before/p' \
  -e 's/^Installing collected packages.*/  unpacking all of them, which takes a minute or more/p'
define install
	@echo "Installing PyTorch, Ray and others into $(VENV): 6 GB on the disk, and once only. It takes about"
	@echo "five minutes at 100 Mbit/s; these are the large packages:"
	@rm -f $@
	@{ $(BIN)/python -m pip install --progress-bar off --disable-pip-version-check -c constraints.txt -e '.[$(1)]' && touch $@; } | $(FILTER)
	@test -e $@ || { echo "Not installed: see pip's errors above; the same command tries again." >&2; exit 1; }
endef

.PHONY: quickstart test chaos bench lint format clean

quickstart: $(VENV)/.installed  ## the full 32-cell grid on real digits, and its table
	$(BIN)/stn-cluster run configs/quickstart.yaml

test: lint  ## everything that must hold; pytest's summary comes last
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

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
	$(call install,cluster)

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	$(call install,cluster$(COMMA)ray-jobs$(COMMA)dev)
	@touch $(VENV)/.installed
