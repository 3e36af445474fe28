#!/usr/bin/env bash
# Deletes what the other scripts made: services, images, accounts, the bucket and the secrets.
#
#   deployment/teardown.sh
#
#   YES=1  do not ask
#
# The project and its enabled APIs stay, as others may use them. What is gone already is passed over.
# Where services run in other regions, they stay, and so does what they share with those of $REGION.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

# Ours are known by the accounts that they run as; without a region, gcloud looks in all of them.
found=$(gcloud run services list \
  --project="$PROJECT_ID" \
  --filter="spec.template.spec.serviceAccountName=($run_account $backend_account)" \
  --format='value(region,metadata.name)')
services=$(awk -v region="$REGION" '$1 == region { print $2 }' <<<"$found")
elsewhere=$(awk -v region="$REGION" 'NF && $1 != region { print "  " $2 " in " $1 }' <<<"$found")

say "In project $PROJECT_ID, region $REGION, this deletes for good:"
for service in $services; do
  say "  the service $service"
done
say "  the repository $REPO_NAME with all its images, whoever pushed them"
if [[ -n $elsewhere ]]; then
  left="The bucket, the secrets and the accounts stay, for the services that run elsewhere:
$elsewhere
REGION=... deployment/$script deletes those first."
  say "$left"
else
  left="Images in other regions, if any, stay: gcloud artifacts repositories list --project=$PROJECT_ID"
  say "  the bucket $source_bucket, the secrets ${secrets// / and }"
  say "  the accounts $build_account, $run_account and $backend_account"
fi
if [[ ${YES:-} != 1 ]]; then
  read -r -p "Type the project's id to go on: " answer || answer=''
  [[ $answer == "$PROJECT_ID" ]] || die "nothing was deleted"
fi

for service in $services; do
  gcloud run services delete "$service" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --quiet
done
! has repository "$REPO_NAME" ||
  gcloud artifacts repositories delete "$REPO_NAME" \
    --project="$PROJECT_ID" \
    --location="$REGION" \
    --quiet
if [[ -n $elsewhere ]]; then
  say "Deleted. $left"
  exit
fi
! has bucket "$source_bucket" ||
  gcloud storage rm "$source_bucket" \
    --project="$PROJECT_ID" \
    --recursive
for secret in $secrets; do
  ! has secret "$secret" ||
    gcloud secrets delete "$secret" \
      --project="$PROJECT_ID" \
      --quiet
done
! has account "$build_account" ||
  gcloud projects remove-iam-policy-binding "$PROJECT_ID" \
    --member="serviceAccount:$build_account" \
    --role=roles/logging.logWriter \
    --condition=None \
    --format=none
for account in "$build_account" "$run_account" "$backend_account"; do
  ! has account "$account" ||
    gcloud iam service-accounts delete "$account" \
      --project="$PROJECT_ID" \
      --quiet
done
say "Deleted. deliverables.yaml is as it was. $left"
