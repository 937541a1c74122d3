#!/usr/bin/env bash
# Asks the registries for the current digests of the base images, and writes them to docker-bake.hcl: X_DIGEST is that
# of X_IMAGE. With --compose it prints the third-party images of compose.yaml, as lines for deploy/.env.
set -euo pipefail
cd "$(dirname "$0")"

digest() {
  local found
  found=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1")
  if [[ ! $found =~ ^sha256:[0-9a-f]{64}$ ]]; then
    echo "$1: the registry's answer has no digest: $found" >&2
    return 1
  fi
  echo "$found"
}

if [[ ${1:-} == --compose ]]; then
  grep -oE '\$\{[A-Z]+_IMAGE:-[^}]+' ../compose.yaml | sed 's/^..//; s/:-/ /' | sort -u | while read -r name image; do
    found=$(digest "$image")
    echo "$name=$image@$found"
  done
  exit
fi

file=docker-bake.hcl
while read -r name image; do
  found=$(digest "$image")
  sed -i "/^variable \"${name}_DIGEST\" {/,/^}/ s|default = \"[^\"]*\"|default = \"$found\"|" "$file"
  echo "$image is $found"
done < <(awk -F'"' '/^variable "[A-Z]+_IMAGE"/ { name = $2; sub(/_IMAGE$/, "", name) } name && /default =/ { print name, $2; name = "" }' "$file")
