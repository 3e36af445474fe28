#!/usr/bin/env bash
# Builds v3_backend's images with Cloud Build: one app image for each model, on one base image.
#
#   deployment/submit_build_v3_backend.sh
#
#   MODELS  the models, separated by commas (default: those in v3/gateway/backends.toml)
#   PRECISION  of the models: fp32 or int8, which is faster (default fp32)
#
# It prints the builds' ids and writes them into deliverables.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

base=$(image_uri backend_base)
source=$(source_url)
revision=$(revision)
models=$(v3_models)

for model in $models; do
  say "$model:"
  app=$(image_uri "v3_backend_$model")

  build=$(gcloud builds submit "$root" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --config="$deployment/cloudbuild_v3_backend.yaml" \
    --substitutions="^|^_BASE_IMAGE_URI=$base|_APP_URI=$app|_SOURCE=$source|_REVISION=$revision|_MODELS=$model${PRECISION:+|_PRECISION=$PRECISION}" \
    --service-account="projects/$PROJECT_ID/serviceAccounts/$build_account" \
    --gcs-source-staging-dir="$source_bucket/source" \
    --async \
    --format='value(id)')

  wait_for_build "$build"
  record "services.v3.back_ends.$model.build_id" "$build"
  printf '%s\n' "$build"
done
