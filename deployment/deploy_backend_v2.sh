#!/usr/bin/env bash
# Deploys backend_v2 to Cloud Run by the commands of the template; -h says which variables it reads.
source "$(dirname "${BASH_SOURCE[0]}")/deploy_service_template.sh" backend_v2 "$@"
