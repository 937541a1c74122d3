# docker buildx bake --file deploy/images/docker-bake.hcl            builds the images for CPUs into the local engine
# ... triton-gpu                                                     builds Triton for GPUs, from NVIDIA's image
# ... release                                                        builds and pushes all, with SBOM and provenance
#
# Bases are pinned by digest, only in this file. Empty digests are refused. `make image-digests` asks the registries,
# and writes the digests into this file, which you commit. Run it again to use newer bases.

variable "PYTHON_IMAGE" {
  default = "python:3.11-slim-bookworm"
}
variable "PYTHON_DIGEST" {
  default = ""
  validation {
    condition     = can(regex("^sha256:[0-9a-f]{64}$", PYTHON_DIGEST))
    error_message = "PYTHON_DIGEST is not known yet: make image-digests"
  }
}
variable "TRITON_IMAGE" {
  default = "nvcr.io/nvidia/tritonserver:25.08-py3"
}
variable "TRITON_DIGEST" {
  default = ""
  validation {
    condition     = can(regex("^sha256:[0-9a-f]{64}$", TRITON_DIGEST))
    error_message = "TRITON_DIGEST is not known yet: make image-digests"
  }
}

# The destination of images: a registry and a path that ends in /. Empty: the local engine.
variable "IMAGE_REGISTRY" {
  default = ""
}
variable "IMAGE_VERSION" {
  default = "0.1.0"
}
# The commit, and the time of the build as RFC 3339.
variable "REVISION" {
  default = "unknown"
}
variable "CREATED" {
  default = timestamp()
}
# A first model bundle for the images of Triton. Without one they have no model.
variable "BUNDLE" {
  default = ""
}

function "tags" {
  params = [role]
  result = ["${IMAGE_REGISTRY}recstream-${role}:${IMAGE_VERSION}"]
}

group "default" {
  targets = ["server", "ingest", "trainer", "triton"]
}
group "release" {
  targets = ["server-release", "ingest-release", "trainer-release", "triton-release", "triton-gpu-release"]
}

target "_common" {
  context    = "."
  dockerfile = "deploy/images/Dockerfile"
  platforms  = ["linux/amd64"]
  args = {
    PYTHON_IMAGE = "${PYTHON_IMAGE}@${PYTHON_DIGEST}"
    TRITON_IMAGE = "${TRITON_IMAGE}@${TRITON_DIGEST}"
  }
  labels = {
    "org.opencontainers.image.version"     = IMAGE_VERSION
    "org.opencontainers.image.revision"    = REVISION
    "org.opencontainers.image.created"     = CREATED
    "org.opencontainers.image.base.name"   = PYTHON_IMAGE
    "org.opencontainers.image.base.digest" = PYTHON_DIGEST
  }
}

target "_release" {
  output = ["type=registry"]
  attest = ["type=sbom", "type=provenance,mode=max"]
}

target "_triton" {
  contexts = BUNDLE == "" ? {} : { bundle = BUNDLE }
}

target "server" {
  inherits = ["_common"]
  target   = "server"
  tags     = tags("server")
}
target "ingest" {
  inherits = ["_common"]
  target   = "ingest"
  tags     = tags("ingest")
}
target "trainer" {
  inherits = ["_common"]
  target   = "trainer"
  tags     = tags("trainer")
}
target "triton" {
  inherits = ["_common", "_triton"]
  target   = "triton"
  tags     = tags("triton")
}
target "triton-gpu" {
  inherits = ["_common", "_triton"]
  target   = "triton-gpu"
  tags     = tags("triton-gpu")
  labels = {
    "org.opencontainers.image.base.name"   = TRITON_IMAGE
    "org.opencontainers.image.base.digest" = TRITON_DIGEST
  }
}

target "server-release" {
  inherits = ["server", "_release"]
}
target "ingest-release" {
  inherits = ["ingest", "_release"]
}
target "trainer-release" {
  inherits = ["trainer", "_release"]
}
target "triton-release" {
  inherits = ["triton", "_release"]
}
target "triton-gpu-release" {
  inherits = ["triton-gpu", "_release"]
}
