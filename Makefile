# make          set up .venv, execute every notebook, write reports/index.html
# make test     set up .venv, then one pytest run: unit tests, doctests, conformance, stored notebooks
# make test-browser  JupyterLab, the reports and the book in chromium, alone
# make book     notebooks and docstrings as one searchable site: reports/book/index.html
# make lab      JupyterLab with chapter 00 open
# make live     a simulated plant: fit, run, and the operator's page at http://127.0.0.1:8765/
# make refresh  re-execute the committed notebooks in place (NOTEBOOKS="02_online_zscore ..." for some)
# make bench    speed and quality side by side with the peers
# make lock     resolve what pyproject.toml asks for into requirements.lock (needs uv)
# make clean    remove what was generated; `make clean-all` the environment too

PYTHON ?= python3
UV ?= uv
UPGRADE ?=
NOTEBOOKS ?=
LAB ?=
JOBS ?= 2
PY := .venv/bin/python
TORCH := torch==2.13.0
# JupyterLab asks nobody whether it may fetch news, and looks for no newer version of itself.
LAB_SETTINGS := .venv/share/jupyter/lab/settings/overrides.json
QUIET_LAB := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}

# One thread per process: two kernels on two cores then do not fight, and sums come out the same.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export NUMBA_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := run
.PHONY: run test test-browser book lab live refresh bench lock clean clean-all setup

run: setup
	$(PY) tools/chapters.py run $(NOTEBOOKS)

test: setup
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Where chromium is absent this fails: `make test` skips these tests instead.
test-browser: setup
	ADLIB_BROWSER=required $(PY) -m pytest -m browser tests

# The notebooks as they are committed: nothing is executed. Every warning is an error.
book: setup
	$(PY) -m sphinx -q -W --keep-going -c docs -d reports/book/.doctrees . reports/book
	@echo "wrote reports/book/index.html"

# From the repository's root, so that links to README and data lead somewhere; `LAB=--no-browser` and
# the like are added to the command.
lab: setup
	$(PY) -m jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_index.ipynb $(LAB)

# The folder plant/ keeps the configuration, to be changed, the model and the alerts.
live: setup
	$(PY) -m adlib.realtime simulate plant

refresh: setup
	$(PY) tools/chapters.py refresh $(NOTEBOOKS)
	$(if $(NOTEBOOKS),,$(PY) tools/leaderboard.py refresh)

bench: setup
	@ls benchmarks/*.py >/dev/null 2>&1 || { echo "there is no benchmark yet"; exit 1; }
	@for script in benchmarks/*.py; do echo "== $$script"; $(PY) $$script || exit 1; done

setup: .venv/installed

# torch goes first and alone: where a CPU build of exactly this version is offered, pip takes it and
# the lock then finds its requirement met.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "adlib needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet '$(TORCH)'
	$(PY) -m pip install --quiet -r requirements.lock
	$(PY) -m pip install --quiet --no-deps -e .
	@mkdir -p $(dir $(LAB_SETTINGS)) && echo '$(QUIET_LAB)' > $(LAB_SETTINGS)
	@touch $@

# What is locked stays as it is unless pyproject.toml asks for more: other versions give other numbers.
# `make lock UPGRADE=--upgrade` takes the newest. The local build tag of torch and the accelerator
# libraries it chooses by itself are taken out, so that one lock serves every platform.
lock:
	{ echo '$(TORCH)'; $(if $(UPGRADE),,cat requirements.lock;) } > requirements.lock.pins
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 $(UPGRADE) \
	  --constraint requirements.lock.pins --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links -o requirements.lock.new
	{ echo "# Made by 'make lock' from pyproject.toml; edit that file instead."; \
	  echo "$(TORCH)"; \
	  grep -Ev '^(#|torch==|triton==|nvidia-|cuda-)' requirements.lock.new; } > requirements.lock
	@rm requirements.lock.new requirements.lock.pins

clean:
	find reports -mindepth 1 ! -name .gitignore ! -path 'reports/leaderboard*' -delete
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist docs/api
	find adlib notebooks tests tools -name __pycache__ -prune -exec rm -rf {} +

clean-all: clean
	rm -rf .venv *.egg-info plant
