#!/usr/bin/env bash
# Builds COMPONENT's images with Cloud Build, from the code as it is here, and pushes them.
#
#   deployment/submit_build_COMPONENT.sh
#
#   MODEL_NAME    the model in the image (default resnet152); of a frontend whose samples it offers
#   MODELS        the models, separated by commas, the default first: of backend_v2 in one image
#                 (default: all), of v3_backend in one each (default: v3/gateway/backends.toml)
#   PRECISION     what to compute in: auto, fp32, bf16 or int8 (default auto: bf16 where the CPU can)
#   MODELS_FILE   describes models of your own (default models.toml, where there is one); what it
#                 names is sent along: see docs/own-model.md
#   BUILD_REGION  where to build, as new projects may do so in a few regions only (default $REGION)
#   WORKER_POOL   the private pool to build in, where a network asks for one: its full name
#   NO_CACHE      true: build all of it anew, from no earlier image (default false)
#
# It prints the build's id and writes it into deliverables.yaml. What Cloud Build does is in
# deployment/cloudbuild_COMPONENT.yaml.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
choose_component "$@"
begin "${@:2}"

base=$(image_uri "${side}_base")
# Where the code comes from, without any password in the address.
source=$(git -C "$root" remote get-url origin 2>/dev/null | sed -E 's#^([a-z+]+://)[^/]*@#\1#') || source=unknown
# The commit that is built, marked where files differ from it.
revision=$(git -C "$root" describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null) || revision=unknown
names=$(list_names)
trap 'rm -rf "$own_models"' EXIT
for name in $names; do
  describe "$name"
  [[ -z $model ]] || say "$model:"
  app=$(image_uri "$name")
  models='' precision=''
  rm -rf "$own_models"
  if [[ $side == backend ]]; then
    models=${model:-${!models_setting:-}}
    precision=${PRECISION:-}
    send_own_files "${models:-$compiled_models}" 'module|weights|labels|onnx|openvino'
  elif [[ $side == frontend ]]; then
    first=${MODEL_NAME:-${MODELS:-}}
    send_own_files "${first%%,*}" samples own_samples
  fi

  build=$({ gcloud builds submit "$root" \
    --project="$PROJECT_ID" \
    --region="$BUILD_REGION" \
    --config="$deployment/cloudbuild_$component.yaml" \
    --substitutions="^|^_BASE_IMAGE_URI=$base|_APP_URI=$app|_SOURCE=$source|_REVISION=$revision${models:+|_MODELS=$models}${precision:+|_PRECISION=$precision}${NO_CACHE:+|_NO_CACHE=$NO_CACHE}" \
    ${WORKER_POOL:+--worker-pool="$WORKER_POOL"} \
    --service-account="projects/$PROJECT_ID/serviceAccounts/$build_account" \
    --gcs-source-staging-dir="$source_bucket/source" \
    --async \
    --format='value(id)' 2>&1 >&3 | explain_region; } 3>&1)

  wait_for_build "$build"
  record "$deliverable.build_id" "$build"
  printf '%s\n' "$build"
done
