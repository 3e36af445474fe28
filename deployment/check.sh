#!/usr/bin/env bash
# Says what is missing before the other scripts can do their work; changes nothing.
#
#   deployment/check.sh
#
# It exits with 1 where something is missing, and says what to do about it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

missing=0

# Says how one thing stands: report WHAT STATUS HINT
report() {
  if (($2 == 0)); then
    say "  ok       $1"
  else
    say "  missing  $1: $3"
    missing=$((missing + 1))
  fi
}

# Runs a command in silence and reports how it ended: expect WHAT HINT COMMAND...
expect() {
  local what=$1 hint=$2 status=0
  shift 2
  "$@" >/dev/null 2>&1 || status=1
  report "$what" "$status" "$hint"
}

signed_in() {
  local account
  account=$(gcloud auth list --filter=status:ACTIVE --format='value(account)')
  [[ -n $account ]]
}

billed() {
  local enabled
  enabled=$(gcloud billing projects describe "$PROJECT_ID" --format='value(billingEnabled)')
  [[ $enabled == True ]]
}

# Whether an API is enabled: what is enabled is asked once.
enabled() { grep -qxF "$1" <<<"$apis"; }

say "Project $PROJECT_ID, region $REGION:"
expect "curl" "install it" command -v curl
expect "an account that is signed in" "gcloud auth login" signed_in
expect "the project" "gcloud projects create $PROJECT_ID, or set another PROJECT_ID" \
  gcloud projects describe "$PROJECT_ID"
expect "billing" "link a billing account to the project in the console, under Billing" billed

setup="deployment/setup.sh makes it"
apis=$(gcloud services list \
  --project="$PROJECT_ID" \
  --enabled \
  --format='value(config.name)' 2>/dev/null) || apis=''
for api in artifactregistry cloudbuild iam logging run secretmanager storage; do
  expect "the API $api.googleapis.com" "deployment/setup.sh enables it" \
    enabled "$api.googleapis.com"
done
expect "the repository $REPO_NAME" "$setup" has repository
expect "the bucket $source_bucket" "$setup" has source_bucket
expect "the account $build_account" "$setup" has account "$build_account"
expect "the account $run_account" "$setup" has account "$run_account"
expect "the secret $secret" "$setup" has secret

((missing == 0)) || die "$missing of these are missing"
say "Nothing is missing."
