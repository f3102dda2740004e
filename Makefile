# `make demo` and `make test` do all the set-up on a machine with Python 3.11 to 3.14 and make.
SHELL := /bin/sh
.DELETE_ON_ERROR:

# The first Python that is new enough; some on the PATH may be names without one behind them.
PYTHON := $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	path=$$($$name -c 'import sys; print(sys.executable) if (3, 11) <= sys.version_info < (3, 15) else sys.exit(1)' 2>/dev/null) \
	&& { echo "$$path"; break; }; done)
UV := .tools/bin/uv
RUN := .venv/bin
export UV_PYTHON := $(PYTHON)
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: demo test check lint types imports bench clients model mutants coverage vectors fuzz differential generate docs agent \
	relying-party release-check audit lock clean

demo: .runtime  ## the main job, on this machine; OPTIONS=--keep leaves the servers running for the pages
	$(RUN)/imds-verifier demo $(OPTIONS)

# Much of the suite waits for servers, so three processes are faster than two on two CPUs. Each starts its own servers.
TEST_PROCESSES ?= 3
# These tests measure times, so they run alone.
TIMED := tests/system/test_slow_callers.py tests/system/test_hostile_machines.py
MATRIX := tests/clients
test: .development  ## the whole suite, on real servers
	$(RUN)/pytest --numprocesses=$(TEST_PROCESSES) --dist=worksteal --ignore=$(MATRIX) $(TIMED:%=--ignore=%)
	$(RUN)/pytest $(TIMED)

# A network namespace needs root. Other users are root in a user namespace, if the kernel permits that.
clients: .clients  ## real clients of IMDS against the emulator: one table (tests/clients)
	$$([ "$$(id -u)" = 0 ] || ! unshare --map-root-user true 2>/dev/null || echo unshare --map-root-user) \
		$(RUN)/pytest $(MATRIX)

.PHONY: .clients
.clients: .development
	PYTHONPATH=tests $(RUN)/python tools/install_clients.py

check: lint types imports  ## everything that reads the code without running it

lint: .development
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/zizmor --offline --quiet --no-progress .github

types: .development
	$(RUN)/mypy

imports: .development
	$(RUN)/lint-imports

# `make bench PART=core` runs one part; OPTIONS=--long the largest cases.
# The measured environment has no test packages: some libraries import others if they find them.
BENCH := .tools/bench
bench: .development  ## how fast the service is: one table (bench/README.md)
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --quiet --locked --no-editable --no-default-groups --compile-bytecode
	BENCH_PYTHON=$(BENCH)/bin/python PYTHONPATH=tests $(RUN)/python bench $(PART) $(OPTIONS)

model: .development  ## every interleaving of posts, failures and failovers of the nonce store
	PYTHONPATH=tests $(RUN)/python -m model.claims

# COUNT=100000 compares as many mutants of documents.
differential: .development  ## chains and 20,000 mutants of documents, beside what OpenSSL decides
	PYTHONPATH=tests $(RUN)/python tools/compare_with_openssl.py $(COUNT)

vectors: .development  ## the vector that detects the removal of each check, in tests/vectors/detectors.toml
	PYTHONPATH=tests $(RUN)/python tools/assign_vectors.py

# `make mutants PART=core SHARD=1/8` runs a part of them, and MODULE=verifier/core/names.py those of one module.
JOBS ?= 1
mutants: .development  ## the modules with one change each, against their own tests (tests/mutants/README.md)
	$(RUN)/python tools/mutation $(PART:%=--part %) $(if $(MODULE),--module $(MODULE)) $(SHARD:%=--shard %) --jobs $(JOBS) $(OPTIONS)

coverage: .development  ## the branches of core that its tests take: less than all of them fails
	$(RUN)/coverage run --module pytest --quiet -p no:randomly tests/unit/core --ignore=tests/unit/core/test_costs.py
	$(RUN)/coverage report

# Mutants of documents, requests and certificates, and how many of each. PROCESSES share the work.
DOCUMENTS ?= 100000
REQUESTS ?= 10000
CERTIFICATES ?= 10000
PROCESSES ?= 1
hostile: .development  ## how the verifier answers hostile inputs: one table (tools/hostile_inputs.py)
	PYTHONPATH=tests $(RUN)/python tools/hostile_inputs.py --documents $(DOCUMENTS) --requests $(REQUESTS) \
		--certificates $(CERTIFICATES) --processes $(PROCESSES) $(OPTIONS)

# `make fuzz TARGET=envelope SECONDS=600` fuzzes one target. Without TARGET: all of them, then the property tests.
FUZZ := .tools/fuzz
FUZZ_TARGETS := $(patsubst fuzz/harnesses/%.py,%,$(sort $(wildcard fuzz/harnesses/*.py)))
SECONDS ?= 60
# A request may take 30 times as long as in the service, because its branches are recorded.
FUZZ_OPTIONS := -timeout=10 -rss_limit_mb=2048 -max_len=20000 -print_final_stats=1
# How long one property test may look for examples, at most: CI kills the job later.
FUZZ_EXAMPLES ?= 5000
fuzz: $(or $(TARGET:%=.fuzz-%),$(FUZZ_TARGETS:%=.fuzz-%) .properties)  ## atheris on every reader of input, and more examples of the property tests

.PHONY: .fuzzing .properties fuzz-corpus hostile
.fuzz-%: .fuzzing
	mkdir -p build/fuzz/corpus/$* build/fuzz/crashes
	PYTHONPATH=tests:fuzz $(FUZZ)/bin/python fuzz/run.py $* $(FUZZ_OPTIONS) -max_total_time=$(SECONDS) \
		-artifact_prefix=build/fuzz/crashes/$*- build/fuzz/corpus/$* fuzz/corpus/$*

.properties: .development
	HYPOTHESIS_PROFILE=fuzz FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) \
	$(RUN)/pytest -p no:randomly $$(grep -rlE '^(from|import) hypothesis' tests/unit tests/contract/test_nonce_states.py)

fuzz-corpus: .fuzzing  ## the smallest inputs, of the seeds and of those found, that reach the same branches
	PYTHONPATH=tests:fuzz $(FUZZ)/bin/python fuzz/seeds.py build/fuzz/seeds
	for target in $(FUZZ_TARGETS); do \
		mkdir -p build/fuzz/corpus/$$target fuzz/corpus/$$target build/fuzz/merged/$$target || exit 1; \
		PYTHONPATH=tests:fuzz $(FUZZ)/bin/python fuzz/run.py $$target -merge=1 -max_len=20000 build/fuzz/merged/$$target \
			fuzz/corpus/$$target build/fuzz/corpus/$$target build/fuzz/seeds/$$target || exit 1; \
		rm -rf fuzz/corpus/$$target && mv build/fuzz/merged/$$target fuzz/corpus/$$target || exit 1; \
	done

generate: .development  ## every generated page and file: docs/ and the chart's
	$(RUN)/python tools/generate_settings.py > docs/operate/settings.md
	$(RUN)/python tools/generate_metrics.py > docs/operate/metrics.md
	$(RUN)/python tools/generate_reasons.py > docs/integrate/reasons.md
	$(RUN)/python tools/generate_relying_party_codes.py > docs/integrate/relying-party-codes.md
	$(RUN)/python tools/generate_imds_conformance.py > docs/integrate/imds-conformance.md
	$(RUN)/python tools/generate_divergences.py > docs/understand/divergences.md
	cp ops/prometheus-rules.yaml helm/verifier/files/prometheus-rules.yaml
	cp ops/grafana-dashboard.json helm/verifier/files/grafana-dashboard.json
	$(RUN)/python helm/generate.py

SITE ?= build/site
docs: .documentation  ## the site of the README and docs/, in build/site; a warning or a dead link fails it
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --site-dir $(SITE)

agent:  ## the agent as one file, for a VM that has Python and nothing of ours
	$(PYTHON) tools/build_agent.py dist/imds-attest.pyz

relying-party: $(UV)  ## the distribution for licensing backends, as wheel and sdist
	$(PYTHON) tools/relying_party_source.py .tools/relying-party
	$(UV) build --quiet --out-dir dist .tools/relying-party

release-check: .release  ## everything about a release that needs no account: TAG=v1.2.3 checks the tag too
	$(RELEASE)/bin/python tools/release_check.py $${TAG:+"$$TAG"}

# Without --strict, pip-audit finds no vulnerabilities in packages that it could not look up, and succeeds. It takes one
# version of each package, so each lock file has a run of its own.
AUDIT := .tools/audit
PIP_AUDIT := $(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement
audit: $(UV)  ## known vulnerabilities of every locked package, by the advisories of PyPI
	UV_PROJECT_ENVIRONMENT=$(AUDIT) $(UV) sync --quiet --locked --only-group audit
	$(UV) export --quiet --locked --all-groups --all-extras --no-emit-project --format requirements.txt --output-file .tools/locked.txt
	$(PIP_AUDIT) .tools/locked.txt
	$(PIP_AUDIT) tools/build.txt
	$(PIP_AUDIT) tools/uv.txt

lock: $(UV)  ## the locked versions, anew
	$(UV) lock --upgrade

# The project is installed as the wheel that is shipped, never in place.
.PHONY: .runtime .development
.runtime: $(UV)
	$(UV) sync --quiet --locked --no-editable --no-default-groups --inexact

# The suite starts hundreds of processes: the modules are compiled once, and not in each of them.
.development: $(UV)
	$(UV) sync --quiet --locked --no-editable --compile-bytecode
	$(PYTHON) tools/relying_party_source.py .tools/relying-party
	$(UV) pip install --quiet --python $(RUN)/python --no-deps --compile-bytecode .tools/relying-party

.fuzzing: $(UV)
	UV_PROJECT_ENVIRONMENT=$(FUZZ) $(UV) sync --quiet --locked --no-editable --no-default-groups --group fuzz --compile-bytecode

# The tools that build and check a release, apart from those of the suite.
RELEASE := .tools/release
.PHONY: .release
.release: $(UV)
	UV_PROJECT_ENVIRONMENT=$(RELEASE) $(UV) sync --quiet --locked --only-group release

# The generator of the documentation site. Its notice about its successor: docs/adr/0041-documentation-site.md.
DOCS := .tools/docs
.PHONY: .documentation
.documentation: $(UV)
	UV_PROJECT_ENVIRONMENT=$(DOCS) $(UV) sync --quiet --locked --only-group docs

$(UV): tools/uv.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12, 3.13 or 3.14 is needed, and none was found" >&2; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r tools/uv.txt
	@touch $@

clean:
	rm -rf .venv .tools build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
