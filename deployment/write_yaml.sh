#!/usr/bin/env bash
# Writes cloudbuild_COMPONENT.yaml and service_COMPONENT.yaml for every component, from their
# templates and the table in components.sh. It needs neither gcloud nor a project.
#
#   deployment/write_yaml.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case ${1:-} in
  '') ;;
  -h | --help) top_comment "$0" && exit 0 ;;
  *) say "$script takes no '$1'." && top_comment "$0" >&2 && exit 2 ;;
esac
unset FETCH_CONTACT

values=$(grep -ohE '<[a-z0-9_]+>' "$deployment"/*_template.yaml | tr -d '<>' | sort -u)
for name in $components; do
  describe "$name"
  image=$name service=$(service_name "$name")
  [[ $name != v3_backend ]] || image+="_\${MODEL}" service="\${SERVICE}" # one for each model
  more_name=${more_settings%%=*} more_value=${more_settings#*=}
  project_setting=GOOGLE_CLOUD_PROJECT
  [[ $side != frontend ]] || project_setting=''
  export image service more_name more_value project_setting
  replacements=''
  for value in $values; do
    replacements+="s#<$value>#${!value}#g;"
  done
  for kind in cloudbuild service; do
    # A line with `# if` stays where something follows it.
    sed "$replacements/ # if \$/d;s/ # if .*//" "$deployment/${kind}_template.yaml" >"$deployment/${kind}_$name.yaml"
  done
done
