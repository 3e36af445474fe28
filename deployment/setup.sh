#!/usr/bin/env bash
# Prepares a project for the other scripts; may be run again at any time, and changes nothing twice.
#
#   deployment/setup.sh
#
# It enables the APIs and makes
#   the repository of images ($REPO_NAME), which keeps the newest ten of each, and younger ones
#   the bucket for source code on its way to Cloud Build; what is in it is deleted after 7 days
#   the account that builds: it may read that bucket and those that your own models come from
#   (docs/own-model.md), write to that repository, and write logs
#   the account that frontends run as: it may read their secret, and call services that let it
#   the account that all others run as, which fetch strangers' pictures: it may read theirs, no more
#   the secrets that sign cookies, each the same for all instances of a service
#
#   SCAN=1  enable the API that looks for known vulnerabilities in every image that is pushed, for
#           0.26 USD each: https://cloud.google.com/artifact-analysis/pricing
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"
check_versions || exit 1

say "Enabling the APIs (a minute or two the first time) ..."
gcloud services enable \
  artifactregistry.googleapis.com \
  cloudbuild.googleapis.com \
  iam.googleapis.com \
  logging.googleapis.com \
  run.googleapis.com \
  secretmanager.googleapis.com \
  storage.googleapis.com \
  ${SCAN:+containerscanning.googleapis.com} \
  --project="$PROJECT_ID"

# Whether a thing is there, which is said.
is_there() { has "$@" && say "The $1 $2 is there."; }

is_there repository "$REPO_NAME" ||
  patiently gcloud artifacts repositories create "$REPO_NAME" \
    --project="$PROJECT_ID" \
    --location="$REGION" \
    --repository-format=docker \
    --description="Images of imgserve"
gcloud artifacts repositories set-cleanup-policies "$REPO_NAME" \
  --project="$PROJECT_ID" \
  --location="$REGION" \
  --policy="$deployment/cleanup_policy.json" \
  --no-dry-run \
  --format=none

is_there bucket "$source_bucket" ||
  patiently gcloud storage buckets create "$source_bucket" \
    --project="$PROJECT_ID" \
    --location="$REGION" \
    --uniform-bucket-level-access \
    --public-access-prevention \
    --lifecycle-file="$deployment/source_lifecycle.json"

for account in "$build_account" "$run_account" "$backend_account"; do
  is_there account "$account" ||
    patiently gcloud iam service-accounts create "${account%%@*}" \
      --project="$PROJECT_ID" \
      --display-name="${account%%@*}"
done

create_secret() {
  head -c 32 /dev/urandom | base64 | tr -d '\n' | gcloud secrets create "$1" \
    --project="$PROJECT_ID" \
    --replication-policy=automatic \
    --data-file=-
}

for secret in $secrets; do
  is_there secret "$secret" || patiently create_secret "$secret"
done

say "Giving the accounts what they need ..."
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
# Where models of one's own come from.
description=$(models_file)
own_buckets=$(grep -oE 'gs://[a-z0-9._-]+' "$description" | sort -u) || own_buckets=''
for bucket in $source_bucket $own_buckets; do
  patiently gcloud storage buckets add-iam-policy-binding "$bucket" \
    --project="$PROJECT_ID" \
    --member="serviceAccount:$build_account" \
    --role=roles/storage.objectViewer \
    --format=none
done
for secret in $secrets; do
  account=$run_account
  [[ $secret != imgserve-backend-key ]] || account=$backend_account
  patiently gcloud secrets add-iam-policy-binding "$secret" \
    --project="$PROJECT_ID" \
    --member="serviceAccount:$account" \
    --role=roles/secretmanager.secretAccessor \
    --format=none
done

say "Ready. Next: deployment/submit_build_backend_v1.sh"
