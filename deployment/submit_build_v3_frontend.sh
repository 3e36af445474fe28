#!/usr/bin/env bash
# Builds v3_frontend's images by the commands of the template; -h says which variables it reads.
source "$(dirname "${BASH_SOURCE[0]}")/submit_build_template.sh" v3_frontend "$@"
