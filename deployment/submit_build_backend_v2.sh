#!/usr/bin/env bash
# Builds backend_v2's images with Cloud Build, from the code as it is here, and pushes them.
#
#   deployment/submit_build_backend_v2.sh
#
#   MODELS  the models in the image, separated by commas, the default first (default: all)
#   PRECISION  of the models: fp32 or int8, which is faster (default fp32)
#
# It prints the build's id and writes it into deliverables.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

base=$(image_uri backend_base)
app=$(image_uri backend_v2)
source=$(source_url)
revision=$(revision)

build=$(gcloud builds submit "$root" \
  --project="$PROJECT_ID" \
  --region="$REGION" \
  --config="$deployment/cloudbuild_backend_v2.yaml" \
  --substitutions="^|^_BASE_IMAGE_URI=$base|_APP_URI=$app|_SOURCE=$source|_REVISION=$revision${MODELS:+|_MODELS=$MODELS}${PRECISION:+|_PRECISION=$PRECISION}" \
  --service-account="projects/$PROJECT_ID/serviceAccounts/$build_account" \
  --gcs-source-staging-dir="$source_bucket/source" \
  --async \
  --format='value(id)')

wait_for_build "$build"
record services.v2.back_end.build_id "$build"
printf '%s\n' "$build"
