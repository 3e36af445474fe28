#!/usr/bin/env bash
# Installs locks of requirements/ into .venv, which it makes if need be:
#   requirements/install.sh backend frontend compile
# PYTHON is the interpreter that makes it (default python3).
set -euo pipefail

python=${PYTHON:-python3}
log=.venv/install.log
[[ -t 2 ]] && tty=1 || tty=''
export PIP_DISABLE_PIP_VERSION_CHECK=1
# PyTorch's own index of builds without CUDA: a tenth of the size of the usual ones on Linux.
torch_cpu_index=https://download.pytorch.org/whl/cpu

say() { printf '%s\n' "$*" >&2; }

make_environment() {
  .venv/bin/python -c 'import pip' 2>/dev/null && return
  if ! command -v "$python" >/dev/null; then
    say "There is no '$python' here. Name a Python of 3.11 or newer: make run PYTHON=python3.12"
    exit 1
  fi
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "Python 3.11 or newer is needed, and '$python' is not one: $("$python" --version 2>&1)."
    say "Name another one: make run PYTHON=python3.12"
    exit 1
  fi
  say "Making .venv with $("$python" --version) ..."
  "$python" -m venv --clear .venv
}

# Runs pip with a running count of the packages; shows what pip said only if it fails.
pip_counting() {
  local count='/^ *(Collecting|Processing|Requirement already)/ { if (++n && tty) printf "\r  %d packages", n; fflush() }
    END { printf "\r  %d packages\n", n }'
  if ! .venv/bin/python -m pip install "$@" 2>&1 | tee "$log" | awk -v tty="$tty" "$count" >&2; then
    grep -v '^WARNING' "$log" | tail -n 20 >&2
    say "pip failed; all it said is in $log"
    exit 1
  fi
}

# Runs pip with its own progress bar; says nothing of what goes wrong.
pip_trying() {
  .venv/bin/python -m pip install "$@" >&2 2>"$log"
}

install_torch() {
  local pins=(--no-deps -r requirements/torch.txt)
  pip_trying --quiet --no-index "${pins[@]}" && return # they are installed, in whatever build
  say "torch and torchvision: the build without CUDA (about 200 MB) ..."
  pip_trying --retries 0 --timeout 10 --index-url "$torch_cpu_index" "${pins[@]}" || {
    say "  not to be had from PyTorch; from the usual index ..."
    pip_trying "${pins[@]}" || true
  }
  .venv/bin/python -W ignore -c 'import torch' 2>>"$log" || {
    say "  that build needs CUDA's libraries; with them (some GB) ..."
    pip_counting -r requirements/torch.txt
  }
}

make_environment
files=()
for name in "$@"; do
  files+=(-r "requirements/$name.txt")
done
say "Installing $* ..."
# A lock names everything, so pip need not look further (--no-deps).
pip_counting --no-deps --require-hashes "${files[@]}"
case " $* " in
  *" compile "*) install_torch ;;
esac
