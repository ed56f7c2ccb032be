# `make` alone prints what there is. Settings are given on the command line, for example
#   make figures SET='{depths: [2, 4, 64], epochs: 50}'

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

DATASET = auto
PROFILE =
SET =
PIP_FLAGS =
LAB_FLAGS =
PYTHON = python3
# YAML is full of quotes and brackets: recipes read these from the environment, where no shell expands them.
export DATASET SET

# -I: neither PYTHONPATH nor the folder that make is called from has a say in what is imported.
EXECUTE = .venv/bin/python -I -m deadgcn.paper.execute
NOTEBOOKS = $(sort $(wildcard notebooks/[0-9]*.ipynb))
# Only a run that changes nothing but the data set writes to figures/, results/ and report/.
OPTIONS = $(if $(PROFILE),-f params/profiles/$(PROFILE).yaml --output-dir build/$(PROFILE),$(if $(SET),,--output-dir .)) \
    $(CHOICE) $(if $(SET),--set "$$SET")
CHOICE = $(if $(filter-out auto,$(DATASET)),--set "dataset: $$DATASET")

# The name says which requirements the environment was made from, so that contents count and not file times.
READY := .venv/ready-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')

.PHONY: help setup figures smoke report readme pdf verify profiles test test-faults test-browser bench lab data clean

help: ## list the targets (this is the default)
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 13
	@echo
	@echo "DATASET=auto    data set for figures, smoke, report and data; auto is Cora, or its synthetic twin"
	@echo "SET='YAML'      parameters for figures and report, such as SET='depths: [2, 4, 64]'; writes below build/"
	@echo "NOTEBOOKS=...   only these notebooks, such as NOTEBOOKS=notebooks/03_pruning.ipynb"
	@echo "PROFILE=NAME    parameters from params/profiles/NAME.yaml; writes to build/NAME"
	@echo "PIP_FLAGS=...   more options for pip in setup; PYTHON=... the Python that .venv is made with"
	@echo "LAB_FLAGS=...   more options for JupyterLab, such as --no-browser"
	@echo
	@echo "Finished training is kept in .cache; to train everything anew, remove it with: rm -r .cache"

setup: $(READY) ## make .venv with the versions of requirements.lock, if it is not there yet

$(READY): # written last: a set-up that was interrupted is done again; of two at once the second waits
	@mkdir -p build; exec 9> build/setup.lock; if command -v flock > /dev/null; then flock 9; fi; \
	if [ -e $@ ]; then exit; fi; \
	rm -f .venv/ready-*; \
	echo "setup: making .venv with $$($(PYTHON) --version)"; \
	$(PYTHON) -m venv .venv; \
	echo "setup: installing $$(wc -l < requirements.lock) packages of requirements.lock; the first time takes minutes"; \
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) -r requirements.lock; \
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) --no-deps -e .; \
	touch $@; \
	echo "setup: done"

figures: ## rerun every notebook: all figures and tables, executed notebooks, report.html, README's numbers
smoke: ## the same with tiny settings (params/profiles/smoke.yaml), into build/smoke
report: ## rerun 09_report only: report.html from the tables that are there

smoke: override PROFILE = smoke
report: NOTEBOOKS = notebooks/09_report.ipynb
figures smoke report: $(READY)
	$(EXECUTE) $(NOTEBOOKS) $(OPTIONS)
	$(if $(PROFILE)$(SET),,$(README))

README = .venv/bin/python -I -m deadgcn.paper.readme

readme: $(READY) ## write README's tables and numbers anew, from the results that are there
	$(README)

# Run some notebooks (2) with a profile (1) and keep some of its results (3), with the time that it took.
define KEEP
	@rm -rf build/$(1); mkdir -p .cache; start=$$SECONDS; \
	runs() { find .cache -name '*.run' | wc -l; }; before=$$(runs); \
	$(MAKE) --no-print-directory figures PROFILE=$(1) NOTEBOOKS='$(2:%=notebooks/%.ipynb)'; \
	minutes=$$(( (SECONDS - start + 30) / 60 )); trained=$$(( $$(runs) - before )); \
	for folder in build/$(1)/results/*/; do \
	    kept=results/profiles/$(1)/$$(basename $$folder); mkdir -p $$kept; \
	    cp -r $(3:%=$$folder/%.csv) $$folder/provenance $$kept; \
	    printf 'minutes,runs_trained\n%s,%s\n' $$minutes $$trained > $$kept/time.csv; \
	done
endef

profiles: $(READY) ## the larger runs of params/profiles/{full,kipf}.yaml, kept in results/profiles (an hour)
	$(call KEEP,full,03_pruning 04_smoothing 08_verdict,verdict verdict_cells power)
	$(call KEEP,kipf,06_recipe,recipe recipe_gaps recipe_runs)

pdf: $(READY) ## print report/report.html to build/report.pdf, where a Chromium is present
	.venv/bin/python -I -m deadgcn.paper.report report/report.html build/report.pdf

verify: $(READY) ## rerun everything into build/verify, and compare it with the committed evidence cell by cell
	$(EXECUTE) $(NOTEBOOKS) --output-dir build/verify $(CHOICE)
	.venv/bin/python -I -m deadgcn.paper.verify "$$DATASET"

test: $(READY) ## run the tests, the longest file first
	.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/test_notebooks.py tests

test-faults: $(READY) ## run the tests that kill, damage and fill up what they run, or take long (10 minutes)
	.venv/bin/python -m pytest -m faults

test-browser: $(READY) ## run every notebook in JupyterLab in a real browser, a Chromium (4 minutes)
	.venv/bin/python -m pytest -m browser

bench: $(READY) ## time the engine against PyTorch Geometric loops and its limit (over an hour); README's table
	.venv/bin/python benchmarks/bench.py

# The only kernel is .venv's Python: a user's own kernels, settings and paths have no say. Settings made in
# this JupyterLab are kept in .venv.
lab: export JUPYTER_CONFIG_DIR = $(CURDIR)/.venv/etc/jupyter
lab: export JUPYTER_DATA_DIR = $(CURDIR)/.venv/share/jupyter
lab: export IPYTHONDIR = $(CURDIR)/.venv/etc/ipython
lab: export JUPYTER_CONFIG_PATH =
lab: export JUPYTER_PATH =
lab: export PYTHONPATH =
lab: $(READY) ## open the notebooks in JupyterLab
	.venv/bin/python -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/notebooks/01_data.ipynb $(LAB_FLAGS)

data: $(READY) ## fetch and check the data set DATASET
	.venv/bin/python -I -m deadgcn.data.graphs "$$DATASET"

clean: ## remove build/; finished training (.cache/), data/ and .venv/ stay
	rm -rf build
	@echo "removed build/; .cache/, data/ and .venv/ stay"
