#!/usr/bin/env bash
# Writes the locks of requirements/ from pyproject.toml: `make lock`.
# Versions stay as they are while they fit; `make lock UPGRADE=1` takes the newest.
set -euo pipefail

locks=(backend frontend gateway compile quantize onnx dev)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

compile() {
  .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
    --no-annotate "$@"
}

# One resolution for everything, so that any of the locks can be installed together.
if [[ -z ${UPGRADE:-} ]]; then
  cat requirements/{backend,frontend,gateway,compile,quantize,onnx,dev}.txt >"$work/all.txt" 2>/dev/null || true
fi
compile --all-extras --no-header --output-file "$work/all.txt"

# torch.txt installs these, or they are CUDA, which no CPU needs.
skipped=()
while read -r package; do
  skipped+=(--no-emit-package "$package")
done < <(sed -nE 's/^(torch|torchvision|triton|(cuda|nvidia)-[a-z0-9-]+)==.*/\1/p' "$work/all.txt")

for name in "${locks[@]}"; do
  compile --extra "$name" --constraints "$work/all.txt" --generate-hashes "${skipped[@]}" \
    --custom-compile-command "make lock" --output-file "$work/$name.txt"
done
for name in "${locks[@]}"; do
  cmp -s "$work/$name.txt" "requirements/$name.txt" || mv "$work/$name.txt" "requirements/$name.txt"
  echo "requirements/$name.txt: $(grep -c '^[a-z]' "requirements/$name.txt") packages" >&2
done
