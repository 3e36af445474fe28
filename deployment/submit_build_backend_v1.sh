#!/usr/bin/env bash
# Builds backend_v1's images with Cloud Build, from the code as it is here, and pushes them.
#
#   deployment/submit_build_backend_v1.sh
#
#   MODEL_NAME  the model in the image (default resnet152)
#   PRECISION  of the model: fp32 or int8, which is faster (default fp32)
#
# It prints the build's id and writes it into deliverables.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "$@"

base=$(image_uri backend_base)
app=$(image_uri backend_v1)
source=$(source_url)
revision=$(revision)

build=$(gcloud builds submit "$root" \
  --project="$PROJECT_ID" \
  --region="$REGION" \
  --config="$deployment/cloudbuild_backend_v1.yaml" \
  --substitutions="^|^_BASE_IMAGE_URI=$base|_APP_URI=$app|_SOURCE=$source|_REVISION=$revision${MODEL_NAME:+|_MODELS=$MODEL_NAME}${PRECISION:+|_PRECISION=$PRECISION}" \
  --service-account="projects/$PROJECT_ID/serviceAccounts/$build_account" \
  --gcs-source-staging-dir="$source_bucket/source" \
  --async \
  --format='value(id)')

wait_for_build "$build"
record services.v1.back_end.build_id "$build"
printf '%s\n' "$build"
