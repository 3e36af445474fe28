#!/usr/bin/env bash
# Writes cloudbuild_COMPONENT.yaml for every component, from cloudbuild_template.yaml and the table
# in components.sh. It needs neither gcloud nor a project.
#
#   deployment/write_cloudbuild.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case ${1:-} in
  '') ;;
  -h | --help) top_comment "$0" && exit 0 ;;
  *) say "$script takes no '$1'." && top_comment "$0" >&2 && exit 2 ;;
esac

for name in $components; do
  describe "$name"
  replacements=''
  for value in component side folder port compiled_models models_setting; do
    replacements+="s#<$value>#${!value}#g;"
  done
  sed "$replacements" "$deployment/cloudbuild_template.yaml" >"$deployment/cloudbuild_$name.yaml"
done
