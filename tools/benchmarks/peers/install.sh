#!/usr/bin/env bash
# Installs the peers that the benchmark compares with, each into an environment of its own below
# .bench/: tools/benchmarks/peers/install.sh original litserve bentoml
# What is installed already is left as it is. The original's design needs nothing beyond our locks.
set -euo pipefail

for name in "$@"; do
  folder=.bench/$name
  lock=tools/benchmarks/peers/$name.txt
  stamp=$folder/installed
  locks=(requirements/{backend,compile,torch}.txt)
  [[ -f $lock ]] && locks+=("$lock")
  wanted=$(cat "${locks[@]}" | cksum)
  [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && continue
  echo "Installing the peer $name into $folder ..." >&2
  mkdir -p "$folder"
  # install.sh makes .venv and reads requirements/ where it is started: torch comes as it does here.
  ln -sfn "$PWD/requirements" "$folder/requirements"
  (cd "$folder" && requirements/install.sh backend compile)
  if [[ -f $lock ]]; then
    "$folder/.venv/bin/python" -m pip install --quiet --no-deps --require-hashes -r "$lock" >&2
  fi
  printf '%s\n' "$wanted" >"$stamp"
done
