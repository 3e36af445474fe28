#!/usr/bin/env bash
# Writes the locks of the peers (tools/benchmarks/peers/NAME.txt) from what they ask for (NAME.in):
#   tools/benchmarks/peers/lock.sh litserve bentoml
# What computes (numpy, Pillow, OpenVINO) has the versions that ours has.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat requirements/backend.txt requirements/compile.txt |
  sed -nE 's/^([a-z0-9-]+==[^ ]+ *(;.*[^ \\])?) *\\?$/\1/p' >"$work/ours.txt"

for name in "$@"; do
  .venv/bin/uv pip compile "tools/benchmarks/peers/$name.in" --quiet --universal --python-version 3.11 \
    --no-annotate --constraints "$work/ours.txt" --generate-hashes \
    --custom-compile-command "tools/benchmarks/peers/lock.sh $name" \
    --output-file "tools/benchmarks/peers/$name.txt"
  echo "tools/benchmarks/peers/$name.txt: $(grep -c '^[a-z]' "tools/benchmarks/peers/$name.txt") packages" >&2
done
