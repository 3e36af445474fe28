#!/usr/bin/env bash
# Sends a component's traffic back to an older revision, after a smoke test of that one.
#
#   deployment/rollback.sh COMPONENT [REVISION]
#
#   COMPONENT  backend_v1, backend_v2, frontend_v1, frontend_v2,
#              v3_backend_MODEL (such as v3_backend_resnet152), v3_gateway or v3_frontend
#   REVISION   which one (default: the newest that is older than the one that serves)
#
# A deploy after this one sends the traffic to the newest revision again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
name=${1:-}
[[ $name != v3_backend ]] || refuse "a component, not '$name'" # it is a service for each model
choose_component "$@"
(($# <= 2)) || die "takes a component and a revision, and no more"
settle

service=$(service_name "$name")
serving=$(serving_revision "$service")
[[ -n $serving ]] || die "$service is not deployed"

# Newest first; only those that started.
revisions=$(gcloud run revisions list \
  --project="$PROJECT_ID" \
  --region="$REGION" \
  --service="$service" \
  --flatten='status.conditions[]' \
  --filter='status.conditions.type=Ready AND status.conditions.status=True' \
  --sort-by='~metadata.creationTimestamp' \
  --format='value(metadata.name)')
older=$(awk -v serving="$serving" 'after { print; exit } $0 == serving { after = 1 }' <<<"$revisions")
target=${2:-$older}
[[ -n $target ]] || die "$service has no revision that is older than $serving"
[[ $target != "$serving" ]] || die "$serving is what serves already"

remove_tags "$service" 0
tag=$(new_tag)
trap 'untag "$service" "$tag"' EXIT
update_traffic "$service" --update-tags="$tag=$target"

find_candidate "$service"
authorize "$service"
smoke_test "$url" || die "$target failed its smoke test, so $serving goes on serving. Older ones:" \
  "deployment/$script $name REVISION, with one of ${revisions//$'\n'/, }"

update_traffic "$service" --to-revisions="$target=100" --remove-tags="$tag"
trap - EXIT
say "$service serves $target again; $serving is still there: deployment/$script $name $serving"
printf '%s\n' "$target"
