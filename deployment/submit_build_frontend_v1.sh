#!/usr/bin/env bash
# Builds frontend_v1's images by the commands of the template; -h says which variables it reads.
source "$(dirname "${BASH_SOURCE[0]}")/submit_build_template.sh" frontend_v1 "$@"
