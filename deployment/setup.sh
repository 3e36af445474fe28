#!/usr/bin/env bash
# Prepares a project for the other scripts; may be run again at any time, and changes nothing twice.
#
#   deployment/setup.sh
#
# It enables the APIs and makes
#   the repository of images ($REPO_NAME)
#   the bucket for source code on its way to Cloud Build; what is in it is deleted after 7 days
#   the account that builds: it may read that bucket, write to that repository, and write logs
#   the account that services run as: it may read the secret, and call services that let it
#   the secret that signs cookies, the same for all instances of a service
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

say "Enabling the APIs (a minute or two the first time) ..."
gcloud services enable \
  artifactregistry.googleapis.com \
  cloudbuild.googleapis.com \
  iam.googleapis.com \
  logging.googleapis.com \
  run.googleapis.com \
  secretmanager.googleapis.com \
  storage.googleapis.com \
  --project="$PROJECT_ID"

if has repository; then
  say "The repository $REPO_NAME is there."
else
  gcloud artifacts repositories create "$REPO_NAME" \
    --project="$PROJECT_ID" \
    --location="$REGION" \
    --repository-format=docker \
    --description="Images of imgserve"
fi

if has source_bucket; then
  say "The bucket $source_bucket is there."
else
  gcloud storage buckets create "$source_bucket" \
    --project="$PROJECT_ID" \
    --location="$REGION" \
    --uniform-bucket-level-access \
    --public-access-prevention \
    --lifecycle-file="$deployment/source_lifecycle.json"
fi

for account in "$build_account" "$run_account"; do
  if has account "$account"; then
    say "The account $account is there."
  else
    gcloud iam service-accounts create "${account%%@*}" \
      --project="$PROJECT_ID" \
      --display-name="${account%%@*}"
  fi
done

if has secret; then
  say "The secret $secret is there."
else
  head -c 32 /dev/urandom | base64 | tr -d '\n' | gcloud secrets create "$secret" \
    --project="$PROJECT_ID" \
    --replication-policy=automatic \
    --data-file=-
fi

# A new account is not known everywhere at once.
patiently() {
  local attempt
  for attempt in 1 2 3 4 5; do
    if "$@"; then
      return
    fi
    say "Trying again ..."
    sleep "$pause_s"
  done
  "$@"
}

say "Giving the two accounts what they need ..."
patiently gcloud projects add-iam-policy-binding "$PROJECT_ID" \
  --member="serviceAccount:$build_account" \
  --role=roles/logging.logWriter \
  --condition=None \
  --format=none
patiently gcloud artifacts repositories add-iam-policy-binding "$REPO_NAME" \
  --project="$PROJECT_ID" \
  --location="$REGION" \
  --member="serviceAccount:$build_account" \
  --role=roles/artifactregistry.writer \
  --format=none
patiently gcloud storage buckets add-iam-policy-binding "$source_bucket" \
  --project="$PROJECT_ID" \
  --member="serviceAccount:$build_account" \
  --role=roles/storage.objectViewer \
  --format=none
patiently gcloud secrets add-iam-policy-binding "$secret" \
  --project="$PROJECT_ID" \
  --member="serviceAccount:$run_account" \
  --role=roles/secretmanager.secretAccessor \
  --format=none

say "Ready. Next: deployment/submit_build_backend_v1.sh"
