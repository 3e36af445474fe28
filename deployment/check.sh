#!/usr/bin/env bash
# Says what is missing before the other scripts can do their work; changes nothing.
#
#   deployment/check.sh
#   deployment/check.sh --deliverables
#
# It exits with 1 where something is missing, and says what to do about it.
# With --deliverables it reads deliverables.yaml alone, without gcloud or the network: it prints
# for each entry whether it is filled, empty or malformed, and what to run next.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tab=$'\t'
# What the scripts write, as deliverables.schema.json has it.
uuid='^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
address='^(https://[^/[:space:]]+|http://127\.0\.0\.1:[0-9]+)(/[^[:space:]]*)?$'

# Prints each entry that should be there, a tab, and the script that writes it; those of v3's
# backends, one for each model that is deployed, as a pattern.
list_writers() {
  for name in $components; do
    describe "$name"
    [[ $name != v3_backend ]] || deliverable+='[.][a-z0-9_]+'
    printf '%s\tdeployment/%s_%s.sh\n' "$deliverable.build_id" submit_build "$name" \
      "$deliverable.service_url" deploy "$name"
  done
}

# Sets $stands to how an entry stands, $why to what is wrong with it, and $remedy to what to do about
# it: judge WORD PLACE VALUE
judge() {
  stands=filled why=''
  remedy=$(awk -F '\t' -v place="$2" 'place ~ "^" $1 "$" { print $2 }' <<<"$writers")
  if [[ $1 == line ]]; then
    why="line $2 is no \`key:\` and no \`key: \"value\"\` in its place"
    remedy="correct line $2 of deliverables.yaml"
  elif [[ -z $remedy ]]; then
    why='no script writes such an entry; deployment/deliverables.schema.json has those there are'
    remedy="remove $2 from deliverables.yaml"
  elif [[ -z $3 ]]; then
    stands=empty
  elif [[ $2 == *.build_id && ! $3 =~ $uuid ]]; then
    why='a build id is a UUID, 8-4-4-4-12 digits of 0-9 and a-f'
  elif [[ $2 == *.service_url && ! $3 =~ $address ]]; then
    why='an address begins with https:// and a host, or http://127.0.0.1:PORT; it has no space'
  fi
  [[ -z $why ]] || stands=malformed
}

check_deliverables() {
  local writers found word place value empty=0 malformed=0 next='' later=''
  writers=$(list_writers)
  found=$(awk -f "$deployment/deliverables_list.awk" "$root/deliverables.yaml")
  while IFS=$tab read -r place _; do # a missing entry is an empty one
    [[ $place == *'['* || $found == *"value$tab$place$tab"* ]] || found+=$'\nvalue\t'$place
  done <<<"$writers"
  while IFS=$tab read -r word place value; do
    judge "$word" "$place" "$value"
    printf '%-10s %s%s\n' "$stands" "$place${value:+: $value}" "${why:+ ($why)}"
    case $stands$place in
      filled*) ;;
      emptyv3.*) later=${later:-$remedy} ;;
      empty*) empty=$((empty + 1)) next=${next:-$remedy} ;;
      malformed*) malformed=$((malformed + 1)) next=${next:-$remedy} ;;
    esac
  done <<<"$found"
  [[ -z $next ]] || die "$empty empty, $malformed malformed; next: $next"
  say "Every entry of v1 and v2 is filled.${later:+ v3 is not: $later is next there.}"
}

if (($# == 1)) && [[ $1 == --deliverables ]]; then
  check_deliverables
  exit
fi

begin "$@"

missing=0
export attempts=1 # it looks, and does not wait

# Runs a command in silence and says whether what it looks for is there: expect WHAT HINT COMMAND...
expect() {
  local what=$1 hint=$2
  shift 2
  if ("$@") >/dev/null 2>&1; then
    say "  ok       $what"
  else
    say "  missing  $what: $hint"
    missing=$((missing + 1))
  fi
}

say "Project $PROJECT_ID, region $REGION:"
expect "gcloud $gcloud_since and curl $curl_since, or newer" "update them" check_versions
account=$(gcloud auth list --filter=status:ACTIVE --format='value(account)' 2>/dev/null) || account=''
expect "an account that is signed in" "gcloud auth login" test -n "$account"
expect "the project" "gcloud projects create $PROJECT_ID, or set another PROJECT_ID" \
  gcloud projects describe "$PROJECT_ID"
billed=$(gcloud billing projects describe "$PROJECT_ID" --format='value(billingEnabled)' 2>/dev/null) || billed=''
expect "billing" "link a billing account to the project in the console, under Billing" test "$billed" = True

setup="deployment/setup.sh makes it"
apis=$(gcloud services list \
  --project="$PROJECT_ID" \
  --enabled \
  --format='value(config.name)' 2>/dev/null) || apis=''
for api in artifactregistry cloudbuild iam logging run secretmanager storage; do
  expect "the API $api.googleapis.com" "deployment/setup.sh enables it" \
    grep -qxF "$api.googleapis.com" <<<"$apis"
done
expect "the repository $REPO_NAME" "$setup" has repository "$REPO_NAME"
expect "the bucket $source_bucket" "$setup" has bucket "$source_bucket"
for account in "$build_account" "$run_account" "$backend_account"; do
  expect "the account $account" "$setup" has account "$account"
done
for secret in $secrets; do
  expect "the secret $secret" "$setup" has secret "$secret"
done

((missing == 0)) || die "$missing of these are missing"
say "Nothing is missing."
