#!/usr/bin/env bash
# Deploys v3_backend to Cloud Run, one service for each model: a new revision without traffic, a
# smoke test, then the traffic.
#
#   deployment/deploy_v3_backend.sh
#
#   MODELS         the models, separated by commas (default: those in v3/gateway/backends.toml)
#   TAG            which image: a build's id (default latest, the last build's)
#   PRIVATE        1: only the frontends' account may call them, for Google's API Gateway (see the
#                  README); 0: anyone (default: as it was; at first 0)
#   MIN_INSTANCES  containers kept warm of each (default 0)
#   MAX_INSTANCES  containers of each at most (default 4)
#
# It prints the URLs and writes them into deliverables.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

models=$(v3_models)

for model in $models; do
  service=$(service_name "v3_backend_$model")
  image=$(image_uri "v3_backend_$model"):${TAG:-latest}
  access=$(access_flag "$service")
  hold_back "$service"

  gcloud run deploy "$service" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --image="$image" \
    --service-account="$run_account" \
    --port=8000 \
    --cpu=2 \
    --memory=2Gi \
    --cpu-boost \
    --concurrency=8 \
    --min-instances="${MIN_INSTANCES:-0}" \
    --max-instances="${MAX_INSTANCES:-4}" \
    --timeout=60 \
    --startup-probe=httpGet.path=/ready,httpGet.port=8000,periodSeconds=2,timeoutSeconds=2,failureThreshold=60 \
    --set-env-vars="^|^GOOGLE_CLOUD_PROJECT=$PROJECT_ID|MODELS=${models//$'\n'/,}" \
    "$access" \
    ${hold[@]+"${hold[@]}"} \
    --format=none || keep_old "$service" "The new revision did not start"

  authorize "$service"
  url=$(candidate_url "$service")
  smoke_test_backend "$url" "/model/$model/predict" ||
    keep_old "$service" "The new revision failed its smoke test"
  change_access "$service" "$access"
  release "$service"

  url=$(service_field "$service" status.url)
  record "services.v3.back_ends.$model.service_url" "$url"
  printf '%s\n' "$url"
done
