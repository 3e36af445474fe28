#!/usr/bin/env bash
# Deploys COMPONENT to Cloud Run: a new revision without traffic, a smoke test, then the traffic.
#
#   deployment/deploy_COMPONENT.sh
#
#   MODELS         v3's models, separated by commas, the default first; each is a service of
#                  v3_backend (default: those in v3/gateway/backends.toml)
#   API_GATEWAY    the gateway's address, where it is not v3_gateway: Google's API Gateway, say
#   TAG            which image: a build's id (default latest, the last build's)
#   PRIVATE        1: only the frontends may call it; 0: anyone (default: as it was; at first 0)
#   FETCH_CONTACT  your page or mail address, shown to the hosts that a backend fetches pictures from
#   PAGE_TITLE     what the page is called (default Animal Classification)
#   MIN_INSTANCES  containers kept warm (default 0)
#   MAX_INSTANCES  containers at most (default 4; of a frontend and of the gateway 2)
#
# It finds the services that it calls by itself, prints the URL and writes it into
# deliverables.yaml. What it is deployed with is in deployment/components.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
choose_component "$@"
begin "${@:2}"

[[ $side != frontend ]] || PRIVATE='' # people open it in their browsers
[[ ${PRIVATE:-} =~ ^[01]?$ ]] ||
  die "PRIVATE is 1 (only the frontends), 0 (anyone) or not set (as it was), not '$PRIVATE'"

settings=GOOGLE_CLOUD_PROJECT=$PROJECT_ID${more_settings:+,$more_settings}
case $component in
  v3_backend)
    models=$(v3_models)
    settings="^|^$settings|MODELS=${models//$'\n'/,}" ;;
  v3_gateway)
    find_v3_backends
    settings="^|^$settings|BACKENDS=$backends" ;;
  *frontend*)
    find_backend
    [[ -z ${PAGE_TITLE:-} ]] ||
      settings="^|^${settings/,SERVING_AUTH/|SERVING_AUTH}|PAGE_TITLE=$PAGE_TITLE" ;;
esac

names=$(list_names)
for name in $names; do
  describe "$name"
  service=$(service_name "$name")
  # 46 characters for it and the tag of a later deploy, which has 15.
  ((${#service} <= 46 - 15)) ||
    die "$service is too long a name for a service: a model deployed by itself may have 20 characters"
  image=$(image_uri "$name"):${TAG:-latest}
  hold_back "$service"
  if [[ -n $secret_setting ]]; then # its newest version, to which a revision keeps: a rollback has what it had
    version=$(gcloud secrets versions describe latest \
      --project="$PROJECT_ID" \
      --secret="$secret" \
      --format='value(name)')
  fi

  why='The deployment failed'
  trap 'keep_old "$service" "$why"' EXIT
  passes='Conflict for resource' patiently gcloud run deploy "$service" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --image="$image" \
    --service-account="$runs_as@$PROJECT_ID.iam.gserviceaccount.com" \
    --execution-environment=gen2 \
    --port="$port" \
    --cpu="$cpu" \
    --memory="$memory" \
    --cpu-boost \
    --concurrency="$concurrency" \
    --min="${MIN_INSTANCES:-0}" \
    --min-instances=default \
    --max-instances="${MAX_INSTANCES:-$max_instances}" \
    --timeout="$timeout" \
    ${session_affinity:+--session-affinity} \
    --startup-probe="httpGet.path=$probe,httpGet.port=$port,periodSeconds=1,timeoutSeconds=1,failureThreshold=120" \
    --set-env-vars="$settings" \
    ${secret_setting:+--set-secrets="$secret_setting=$secret:${version##*/}"} \
    ${access:+"$access"} \
    ${tag:+--no-traffic --tag="$tag"} \
    --format=none

  why='The new revision failed its smoke test'
  authorize "$service"
  find_candidate "$service"
  smoke_test "$url"

  why='Who may call it could not be changed'
  change_access "$service"

  why='The traffic could not be moved'
  [[ -z $tag ]] || update_traffic "$service" --to-revisions="$candidate=100" --remove-tags="$tag"
  trap - EXIT

  url=$(service_field "$service" status.url)
  record "$deliverable.service_url" "$url"
  printf '%s\n' "$url"
done
