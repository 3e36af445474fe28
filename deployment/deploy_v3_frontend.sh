#!/usr/bin/env bash
# Deploys v3_frontend to Cloud Run: a new revision without traffic, a smoke test, then the traffic.
#
#   deployment/deploy_v3_frontend.sh
#
#   API_GATEWAY    the gateway's address, where it is not v3_gateway: Google's API Gateway, say
#   TAG            which image: a build's id (default latest, the last build's)
#   MIN_INSTANCES  containers kept warm (default 0)
#   MAX_INSTANCES  containers at most (default 2)
#
# It finds v3_gateway by itself, and whether that asks for ID tokens; prints the URL and
# writes it into deliverables.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

service=$(service_name v3_frontend)
image=$(image_uri v3_frontend):${TAG:-latest}
if [[ -n ${API_GATEWAY:-} ]]; then
  backend_url=$API_GATEWAY
  serving_auth=none
else
  backend=$(service_name v3_gateway)
  backend_url=$(service_url "$backend" deploy_v3_gateway.sh)
  serving_auth=$(serving_auth "$backend")
fi
hold_back "$service"

gcloud run deploy "$service" \
  --project="$PROJECT_ID" \
  --region="$REGION" \
  --image="$image" \
  --service-account="$run_account" \
  --port=8501 \
  --cpu=1 \
  --memory=1Gi \
  --cpu-boost \
  --concurrency=40 \
  --min-instances="${MIN_INSTANCES:-0}" \
  --max-instances="${MAX_INSTANCES:-2}" \
  --timeout=3600 \
  --session-affinity \
  --startup-probe=httpGet.path=/_stcore/health,httpGet.port=8501,periodSeconds=2,timeoutSeconds=2,failureThreshold=60 \
  --set-env-vars="API_GATEWAY=$backend_url,SERVING_AUTH=$serving_auth" \
  --set-secrets="STREAMLIT_SERVER_COOKIE_SECRET=$secret:latest" \
  --allow-unauthenticated \
  ${hold[@]+"${hold[@]}"} \
  --format=none || keep_old "$service" "The new revision did not start"

url=$(candidate_url "$service")
smoke_test_page "$url" || keep_old "$service" "The new revision failed its smoke test"
release "$service"

url=$(service_field "$service" status.url)
record services.v3.front_end.service_url "$url"
printf '%s\n' "$url"
