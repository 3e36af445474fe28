#!/usr/bin/env bash
# Deploys v3_gateway to Cloud Run: a new revision without traffic, a smoke test, then the traffic.
#
#   deployment/deploy_v3_gateway.sh
#
#   MODELS         the models it leads to, the default first (default: those in
#                  v3/gateway/backends.toml); each needs its backend to be deployed
#   TAG            which image: a build's id (default latest, the last build's)
#   PRIVATE        1: only the frontends may call it; 0: anyone (default: as it was; at first 0)
#   MIN_INSTANCES  containers kept warm (default 0)
#   MAX_INSTANCES  containers at most (default 2)
#
# It finds the backends by itself; prints the URL and writes it into deliverables.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

backends=''
models=$(v3_models)
for model in $models; do
  backend=$(service_name "v3_backend_$model")
  backend_url=$(service_url "$backend" deploy_v3_backend.sh)
  auth=$(serving_auth "$backend")
  [[ $auth == none ]] || die "$backend asks for ID tokens, which this gateway (nginx) cannot make." \
    "Deploy the backends with PRIVATE=0, or use Google's API Gateway: see the README."
  backends+=${backends:+,}$model=$backend_url
done

service=$(service_name v3_gateway)
image=$(image_uri v3_gateway):${TAG:-latest}
access=$(access_flag "$service")
hold_back "$service"

gcloud run deploy "$service" \
  --project="$PROJECT_ID" \
  --region="$REGION" \
  --image="$image" \
  --service-account="$run_account" \
  --port=8080 \
  --cpu=1 \
  --memory=1Gi \
  --cpu-boost \
  --concurrency=64 \
  --min-instances="${MIN_INSTANCES:-0}" \
  --max-instances="${MAX_INSTANCES:-2}" \
  --timeout=60 \
  --startup-probe=httpGet.path=/ready,httpGet.port=8080,periodSeconds=2,timeoutSeconds=2,failureThreshold=60 \
  --set-env-vars="^|^GOOGLE_CLOUD_PROJECT=$PROJECT_ID|BACKENDS=$backends" \
  "$access" \
  ${hold[@]+"${hold[@]}"} \
  --format=none || keep_old "$service" "The new revision did not start"

authorize "$service"
url=$(candidate_url "$service")
smoke_test_gateway "$url" || keep_old "$service" "The new revision failed its smoke test"
change_access "$service" "$access"
release "$service"

url=$(service_field "$service" status.url)
record services.v3.gateway.service_url "$url"
printf '%s\n' "$url"
