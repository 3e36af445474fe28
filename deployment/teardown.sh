#!/usr/bin/env bash
# Deletes what the other scripts made: services, images, accounts, the bucket and the secret.
#
#   deployment/teardown.sh
#
#   YES=1  do not ask
#
# The project and its enabled APIs stay, as others may use them. What is gone already is passed over.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

# Ours are known by the account that they run as.
services=$(gcloud run services list \
  --project="$PROJECT_ID" \
  --region="$REGION" \
  --filter="spec.template.spec.serviceAccountName=$run_account" \
  --verbosity=error \
  --format='value(metadata.name)')

say "In project $PROJECT_ID, region $REGION, this deletes for good:"
for service in $services; do
  say "  the service $service"
done
say "  the repository $REPO_NAME with all its images, whoever pushed them"
say "  the bucket $source_bucket, the secret $secret"
say "  the accounts $build_account and $run_account"
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
if has repository; then
  gcloud artifacts repositories delete "$REPO_NAME" \
    --project="$PROJECT_ID" \
    --location="$REGION" \
    --quiet
fi
if has source_bucket; then
  gcloud storage rm "$source_bucket" \
    --project="$PROJECT_ID" \
    --recursive
fi
if has secret; then
  gcloud secrets delete "$secret" \
    --project="$PROJECT_ID" \
    --quiet
fi
if has account "$build_account"; then
  gcloud projects remove-iam-policy-binding "$PROJECT_ID" \
    --member="serviceAccount:$build_account" \
    --role=roles/logging.logWriter \
    --condition=None \
    --format=none
fi
for account in "$build_account" "$run_account"; do
  if has account "$account"; then
    gcloud iam service-accounts delete "$account" \
      --project="$PROJECT_ID" \
      --quiet
  fi
done
say "Deleted. deliverables.yaml is as it was."
