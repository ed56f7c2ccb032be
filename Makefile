# `make` alone lists what there is. Settings are given on the command line, for example
#   make figures SET='{depths: [2, 4, 64], epochs: 50}'

SHELL := bash
.NOTPARALLEL:

# A misspelt variable would be ignored, and an empty one mean the default: the whole study would run.
KNOWN = DATASET SET PROFILE NOTEBOOKS DRY PYTHON PIP_FLAGS LAB_FLAGS
ON_COMMAND_LINE := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(KNOWN) MAKE% GNUMAKE% SHELL -%,$(ON_COMMAND_LINE))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN); known are $(KNOWN)))
GIVEN := $(foreach name,$(KNOWN),$(if $(filter undefined,$(origin $(name))),,$(name)))
MAY_BE_EMPTY = DRY PIP_FLAGS LAB_FLAGS
EMPTY := $(foreach name,$(filter-out $(MAY_BE_EMPTY),$(GIVEN)),$(if $(strip $(value $(name))),,$(name)))
$(if $(strip $(EMPTY)),$(error $(EMPTY) is empty; leave it out for the default))
# Make would expand a given value, and a shell the text of a recipe: recipes read these from the environment.
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name)))$(eval export $(name)))

override DRY := $(filter-out 0,$(DRY))
DRY_TARGETS = figures smoke report verify
$(if $(DRY),$(if $(filter-out $(DRY_TARGETS),$(or $(MAKECMDGOALS),help)),$(error DRY is for $(DRY_TARGETS))))
$(if $(SET)$(PROFILE),$(if $(filter verify profiles,$(MAKECMDGOALS)),\
    $(error SET and PROFILE are for figures, smoke and report, not for $(MAKECMDGOALS))))
override PROFILE := $(strip $(PROFILE))
PROFILES := $(notdir $(basename $(wildcard params/profiles/*.yaml)))
$(if $(PROFILE),$(if $(and $(filter 1,$(words $(PROFILE))),$(filter $(PROFILES),$(PROFILE))),,\
    $(error PROFILE must be one of $(PROFILES), the files in params/profiles, but is $(PROFILE))))

# What a user's own Python, Jupyter, IPython or matplotlib is told must not change what notebooks compute.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS MKL_CBWR MPLBACKEND MATPLOTLIBRC
unexport JUPYTER_PATH JUPYTER_CONFIG_PATH
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
CHOICE = $(if $(DATASET),--dataset "$$DATASET")
# Makes the shell's arguments of NOTEBOOKS: names and patterns between spaces, or one name with spaces in it.
ALL = notebooks/[0-9]*.ipynb
NAMES = set -- $${NOTEBOOKS:-$(ALL)}; if [ -e "$$NOTEBOOKS" ]; then set -- "$$NOTEBOOKS"; fi

.PHONY: help setup figures smoke report readme verify profiles test test-faults test-browser bench lab data clean

help: ## list the targets (this is the default)
	@awk -F ':[^#]*## ' '/^[a-z-]+:[^#]*## / { printf "%-14s%s\n", $$1, $$2 }' Makefile
	@echo "Variables: DATASET=Cora, SET='depths: [2, 4]' and PROFILE=smoke (these two write below build/),"
	@echo "NOTEBOOKS=notebooks/03_depth.ipynb, DRY=1 (only say what would be trained, and how long that takes),"
	@echo "PYTHON, PIP_FLAGS, LAB_FLAGS. Finished training is kept in .cache/."

# Asked of .venv's Python: whether it finds the package of this folder. One that was copied or moved finds the
# other folder's, or none.
IS_OWN = import os, sys; from importlib.util import find_spec; found = find_spec("deadgcn"); \
    sys.exit(not found or not os.path.samefile(os.path.dirname(found.origin), "deadgcn"))
WORKS = import torch_geometric, seaborn, statsmodels, papermill, nbconvert, jupyterlab
BUILD = import sys; print(sys.version)
BASE = import sys; print(getattr(sys, "_base_executable", sys.executable))
IS_OLD = import sys; version = ".".join(map(str, sys.version_info[:3])); \
    told = "error: %s is Python %s, but 3.11 or newer is needed: make setup PYTHON=..."; \
    sys.exit(told % (sys.executable, version) if sys.version_info < (3, 11) else 0)
# Where pip would install, if not into the environment that it runs in. Some have `user = true` in its settings.
export PIP_USER = 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PIP_NO_DEPS PIP_REQUIREMENT PIP_EDITABLE

# The marker is named after the contents of what the environment is made from. It is written last, so that an
# interrupted set-up is repeated; of two at once the second waits.
setup: ## make .venv with the versions of requirements.lock, unless it is there and of this folder
	@set -e; fail() { echo "error: $$1" >&2; exit 2; }; \
	ready=.venv/ready-$$(cat requirements.lock pyproject.toml | cksum | tr ' ' '-'); \
	is_own() { \
	    .venv/bin/python -I -c '$(IS_OWN)' 2> /dev/null || return 1; \
	    [ -z "$$PYTHON" ] || \
	        [ "$$("$$PYTHON" -c '$(BUILD)' 2>&1)" = "$$(.venv/bin/python -I -c '$(BUILD)')" ]; \
	}; \
	if [ -e $$ready ] && is_own; then exit; fi; \
	mkdir -p build; exec 9> build/setup.lock; \
	if command -v flock > /dev/null && ! flock 9; then \
	    echo "warning: build/setup.lock cannot be locked; do not set up twice at once" >&2; \
	fi; \
	if [ -e $$ready ] && is_own; then exit; fi; \
	if ! is_own; then \
	    python=$${PYTHON:-python3}; base=$$("$$python" -c '$(BASE)') || true; \
	    [ -n "$$base" ] || fail "$$python cannot be run as Python: make setup PYTHON=... names another"; \
	    "$$base" -c '$(IS_OLD)'; \
	    "$$base" -c 'import ensurepip, venv' 2> /dev/null \
	        || fail "$$base has no module ensurepip or venv (on Debian they are in the package python3-venv)"; \
	    if [ -L .venv ]; then rm .venv; fi; rm -f .venv/ready-*; \
	    "$$base" -I -m venv --clear .venv; \
	fi; \
	rm -f .venv/ready-*; set -fx; \
	.venv/bin/python -I -m pip install --quiet $$PIP_FLAGS -r requirements.lock; \
	.venv/bin/python -I -m pip install --quiet $$PIP_FLAGS --no-deps -e .; \
	{ set +x; } 2> /dev/null; \
	.venv/bin/python -I -c '$(IS_OWN)' && .venv/bin/python -I -c '$(WORKS)' \
	    || fail "the new .venv does not work; has pip installed elsewhere? See pip config list"; \
	touch $$ready

figures: ## run every notebook: figures, tables, executed notebooks, report.html and README's numbers
smoke: ## the same with tiny settings (params/profiles/smoke.yaml), into build/smoke
report: ## run 11_report only: report.html from the tables that are there
smoke: override PROFILE = smoke
report: ALL = notebooks/11_report.ipynb
figures smoke report: setup
	@$(NAMES); set -x; $(RUN) $(OPTIONS) -- "$$@"
	$(if $(DRY),,$(if $(filter .,$(PLACE)),.venv/bin/python paper/readme.py))

readme: setup ## write README's numbers, docs/columns.md and docs/api.md anew
	.venv/bin/python paper/readme.py
	.venv/bin/python paper/reference.py

verify: setup ## run everything into build/verify and compare its tables with the committed ones
	@$(NAMES); set -x; $(RUN) --output-dir build/verify $(CHOICE) $(if $(DRY),--dry) -- "$$@"
	$(if $(DRY),,.venv/bin/python -I paper/verify.py $(if $(DATASET),"$$DATASET"))

profiles: setup ## the larger runs of params/profiles/{full,kipf}.yaml, kept in results/profiles (40 minutes)
	@rm -rf build/full build/kipf
	$(MAKE) figures PROFILE=full NOTEBOOKS='notebooks/0[678]_*.ipynb'
	$(MAKE) figures PROFILE=kipf NOTEBOOKS=notebooks/02_recipe.ipynb
	@set -e; for results in build/{full,kipf}/results/*; do \
	    test -d "$$results/provenance"; \
	    kept=results/profiles/$$(cut -d / -f 2,4 <<< "$$results"); rm -rf "$$kept"; mkdir -p "$$kept"; \
	    cp -r "$$results/provenance" "$$results"/*.csv "$$kept"; \
	done

test: setup ## run the tests (4 minutes)
	.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/test_notebooks.py tests deadgcn

test-faults: setup ## run the tests that kill, damage and fill up what they run (6 minutes)
	.venv/bin/python -m pytest -m faults -n 2 tests

test-browser: setup ## run every notebook in JupyterLab in a Chromium (3 minutes)
	.venv/bin/python -m pytest -m browser tests

bench: setup ## time the engine against PyTorch Geometric, torch.func and JAX (over an hour)
	.venv/bin/python benchmarks/bench.py

# Where JupyterLab keeps the answer to its question whether it may fetch news.
NEWS = lab/user-settings/@jupyterlab/apputils-extension
lab: setup ## open the notebooks in JupyterLab
	@if [ "$$(id -u)" = 0 ] && [[ "$$LAB_FLAGS" != *allow[_-]root* ]]; then \
	    echo "You are root, as in a container, where JupyterLab does not start unless it is told to:" >&2; \
	    echo "make lab LAB_FLAGS=--allow-root" >&2; exit 2; \
	fi
	@set -e; news=$$JUPYTER_CONFIG_DIR/$(NEWS); mkdir -p "$$news"; news=$$news/notification.jupyterlab-settings; \
	if [ ! -e "$$news" ]; then echo '{"fetchNews": "false"}' > "$$news"; fi
	@set -fx; .venv/bin/python -m jupyterlab --config=paper/lab.py --ServerApp.root_dir="$$PWD" \
	    --LabApp.default_url=/lab/tree/notebooks/01_data.ipynb $$LAB_FLAGS

data: setup ## fetch and check the data set DATASET
	.venv/bin/python -I paper/fetch.py "$${DATASET:-auto}" graph

clean: ## remove build/; finished training (.cache/), data/ and .venv/ stay
	rm -rf build
