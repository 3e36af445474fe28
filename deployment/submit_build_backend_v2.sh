#!/usr/bin/env bash
# Builds backend_v2's images by the commands of the template; -h says which variables it reads.
source "$(dirname "${BASH_SOURCE[0]}")/submit_build_template.sh" backend_v2 "$@"
