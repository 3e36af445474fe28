#!/usr/bin/env bash
# Deploys backend_v1 to Cloud Run: a new revision without traffic, a smoke test, then the traffic.
#
#   deployment/deploy_backend_v1.sh
#
#   TAG            which image: a build's id (default latest, the last build's)
#   PRIVATE        1: only the frontends may call it; 0: anyone (default: as it was; at first 0)
#   MIN_INSTANCES  containers kept warm (default 0)
#   MAX_INSTANCES  containers at most (default 4)
#
# It prints the URL and writes it into deliverables.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

service=$(service_name backend_v1)
image=$(image_uri backend_v1):${TAG:-latest}
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
  --set-env-vars="GOOGLE_CLOUD_PROJECT=$PROJECT_ID" \
  "$access" \
  ${hold[@]+"${hold[@]}"} \
  --format=none || keep_old "$service" "The new revision did not start"

authorize "$service"
url=$(candidate_url "$service")
smoke_test_backend "$url" /predict || keep_old "$service" "The new revision failed its smoke test"
change_access "$service" "$access"
release "$service"

url=$(service_field "$service" status.url)
record services.v1.back_end.service_url "$url"
printf '%s\n' "$url"
