# `make` alone lists what there is. Settings are given on the command line, for example
#   make figures SET='{depths: [2, 4, 64], epochs: 50}'

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:

DATASET = auto
NOTEBOOKS = $(sort $(wildcard notebooks/[0-9]*.ipynb))
PYTHON = python3
# Recipes read these from the environment, where no shell expands the quotes and brackets of YAML.
export DATASET SET PROFILE LAB_FLAGS

# A misspelt variable would be ignored, and the whole study run.
KNOWN = DATASET SET PROFILE NOTEBOOKS DRY PYTHON PIP_FLAGS LAB_FLAGS
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(KNOWN) MAKE% GNUMAKE% SHELL -%,$(GIVEN))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN); known are $(KNOWN)))
override DRY := $(filter-out 0,$(DRY))
DRY_TARGETS = figures smoke report verify
$(if $(DRY),$(if $(filter-out $(DRY_TARGETS),$(or $(MAKECMDGOALS),help)),$(error DRY is for $(DRY_TARGETS))))

# What a user's own Python, Jupyter, IPython or matplotlib is told must not change what notebooks compute.
unexport PYTHONPATH PYTHONOPTIMIZE PYTHONWARNINGS MKL_CBWR MPLBACKEND MATPLOTLIBRC JUPYTER_PATH JUPYTER_CONFIG_PATH
export PYTHONHASHSEED = 0
export PYTHONNOUSERSITE = 1
export IPYTHONDIR = $(CURDIR)/.venv/etc/ipython
export JUPYTER_CONFIG_DIR = $(CURDIR)/.venv/etc/jupyter
export JUPYTER_DATA_DIR = $(CURDIR)/.venv/share/jupyter
export MPLCONFIGDIR = $(CURDIR)/.venv/etc/matplotlib

RUN = .venv/bin/python -I paper
# Only a run that changes nothing but the data set writes to figures/, results/ and report/. With SET the
# program names a folder below build/ after all settings, and writes them to settings.yaml there.
PLACE = $(if $(SET),,$(if $(PROFILE),build/$(PROFILE),.))
OPTIONS = $(if $(PROFILE),-f params/profiles/$(PROFILE).yaml) $(if $(PLACE),--output-dir $(PLACE)) \
    $(CHOICE) $(if $(SET),--set "$$SET") $(if $(DRY),--dry)
CHOICE = $(if $(filter-out auto,$(DATASET)),--set "dataset: $$DATASET")
# Named after the contents of what the environment is made from.
READY := .venv/ready-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')

.PHONY: help setup figures smoke report readme verify profiles test test-faults test-browser bench lab data clean

help: ## list the targets (this is the default)
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 14
	@echo "Variables: DATASET=Cora, SET='depths: [2, 4]' and PROFILE=smoke (these two write below build/),"
	@echo "NOTEBOOKS=notebooks/03_depth.ipynb, DRY=1 (only say what would be trained, and how long that takes),"
	@echo "PYTHON, PIP_FLAGS, LAB_FLAGS. Finished training is kept in .cache/."

setup: $(READY) ## make .venv with the versions of requirements.lock, if it is not there yet
$(READY): # written last, so that an interrupted set-up is repeated; of two at once the second waits
	@mkdir -p build; exec 9> build/setup.lock; if command -v flock > /dev/null; then flock 9; fi; \
	if [ -e $@ ]; then exit; fi; rm -f .venv/ready-*; set -x; \
	$(PYTHON) -m venv .venv; \
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) -r requirements.lock; \
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) --no-deps -e .; \
	touch $@

figures: ## run every notebook: figures, tables, executed notebooks, report.html and README's numbers
smoke: ## the same with tiny settings (params/profiles/smoke.yaml), into build/smoke
report: ## run 11_report only: report.html from the tables that are there
smoke: override PROFILE = smoke
report: NOTEBOOKS = notebooks/11_report.ipynb
figures smoke report: $(READY)
	$(RUN) $(NOTEBOOKS) $(OPTIONS)
	$(if $(DRY),,$(if $(filter .,$(PLACE)),.venv/bin/python paper/readme.py))

readme: $(READY) ## write README's numbers, docs/columns.md and docs/api.md anew
	.venv/bin/python paper/readme.py
	.venv/bin/python paper/reference.py

verify: $(READY) ## run everything into build/verify and compare its tables with the committed ones
	$(RUN) $(NOTEBOOKS) --output-dir build/verify $(CHOICE) $(if $(DRY),--dry)
	$(if $(DRY),,.venv/bin/python -I paper/verify.py "$$DATASET")

profiles: $(READY) ## the larger runs of params/profiles/{full,kipf}.yaml, kept in results/profiles (40 minutes)
	@rm -rf build/full build/kipf
	$(MAKE) figures PROFILE=full NOTEBOOKS='$(sort $(wildcard notebooks/0[678]_*.ipynb))'
	$(MAKE) figures PROFILE=kipf NOTEBOOKS=notebooks/02_recipe.ipynb
	for results in build/{full,kipf}/results/*; do \
	    kept=results/profiles/$$(cut -d / -f 2,4 <<< $$results); rm -rf $$kept; mkdir -p $$kept; \
	    cp -r $$results/provenance $$results/*.csv $$kept; \
	done

test: $(READY) ## run the tests (4 minutes)
	.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/test_notebooks.py tests deadgcn

test-faults: $(READY) ## run the tests that kill, damage and fill up what they run (4 minutes)
	.venv/bin/python -m pytest -m faults -n 2 tests

test-browser: $(READY) ## run every notebook in JupyterLab in a Chromium (3 minutes)
	.venv/bin/python -m pytest -m browser tests

bench: $(READY) ## time the engine against PyTorch Geometric, torch.func and JAX (over an hour)
	.venv/bin/python benchmarks/bench.py

# Where JupyterLab keeps the answer to its question whether it may fetch news.
NEWS = $(JUPYTER_CONFIG_DIR)/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings
lab: $(READY) ## open the notebooks in JupyterLab
	@if [ "$$(id -u)" = 0 ] && [[ "$$LAB_FLAGS" != *allow[_-]root* ]]; then \
	    echo "You are root, as in a container, where JupyterLab does not start unless it is told to:" >&2; \
	    echo "make lab LAB_FLAGS=--allow-root" >&2; exit 2; \
	fi
	@if [ ! -e "$(NEWS)" ]; then mkdir -p "$(dir $(NEWS))"; echo '{"fetchNews": "false"}' > "$(NEWS)"; fi
	.venv/bin/python -m jupyterlab --config=paper/lab.py --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/notebooks/01_data.ipynb $(LAB_FLAGS)

data: $(READY) ## fetch and check the data set DATASET
	.venv/bin/python -I -m deadgcn.data.graphs "$$DATASET"

clean: ## remove build/; finished training (.cache/), data/ and .venv/ stay
	rm -rf build
