# shellcheck shell=bash
# Sourced by the scripts beside it: what things are called, and what several of them do.
# What differs between the components is in components.sh.
# Functions say `|| return` where they are used as $(function): bash does not stop in there.
#
# All scripts here read
#   PROJECT_ID  the Google Cloud project (default: gcloud's own, `gcloud config set project ...`)
#   REGION      where to build and run (default northamerica-northeast1)
#   REPO_NAME   the repository of images (default imgserve)
#   REGISTRY    the host of that repository (default $REGION-docker.pkg.dev)

source "$(dirname "${BASH_SOURCE[0]}")/components.sh"
deployment=$(dirname "${BASH_SOURCE[0]}")
root=$deployment/..
script=$(basename "$0")
pause_s=${PAUSE_S:-3} # between two questions about the same thing
component='' # what is described (components.sh)
template=''  # whose comment says how its scripts are used
reads='*'    # which of the variables in that comment a script reads

# --- talking ---------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$script: $*"
  exit 1
}

# Prints the comment at the top of a file, without its first line.
top_comment() {
  awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"
}

# Prints how a script is used: where a component is chosen, without what only others read.
usage() {
  top_comment "${template:-$0}" | awk -v component="${component:-COMPONENT}" -v reads=" $reads " '
    !/^     / { skip = /^  [A-Z_]+  / && reads != " * " && !index(reads, " " $1 " ") }
    { gsub(/COMPONENT/, component) }
    !skip && !(blank && /^$/) { print; blank = /^$/ }'
  printf '\n'
  top_comment "$deployment/lib.sh" | awk '/^All scripts here read/ { on = 1 } on'
}

# --- beginning -------------------------------------------------------------------------------

# Answers -h, refuses other words, and settles the variables that every script reads.
begin() {
  case ${1:-} in
    '') ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "no '$1'" ;;
  esac
  settle
}

# Does the same for a template, which takes a component first.
#   begin_component TEMPLATE WHICH_READS COMPONENT [-h]
begin_component() {
  template=$1
  choose_component "${3:-}"
  reads=${!2}
  shift 3
  begin "$@"
}

# Describes a component, or answers -h, or stops: choose_component COMPONENT
choose_component() {
  case $1 in
    -h | --help) usage && exit 0 ;;
  esac
  describe "$1" || refuse "a component, not '$1'"
}

# Stops, saying what a script takes and how it is used.
refuse() {
  say "$script takes $1."
  usage >&2
  exit 2
}

settle() {
  command -v gcloud >/dev/null ||
    die "gcloud is missing: install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install"
  if [[ -z ${PROJECT_ID:-} ]]; then
    PROJECT_ID=$(gcloud config get-value project 2>/dev/null) || true
  fi
  REGION=${REGION:-northamerica-northeast1}
  REPO_NAME=${REPO_NAME:-imgserve}
  REGISTRY=${REGISTRY:-$REGION-docker.pkg.dev}
  [[ -n $PROJECT_ID ]] || die "set PROJECT_ID, for example: PROJECT_ID=... deployment/$script"
  export build_account=imgserve-build@$PROJECT_ID.iam.gserviceaccount.com
  export run_account=imgserve-run@$PROJECT_ID.iam.gserviceaccount.com
  export source_bucket=gs://$PROJECT_ID-imgserve-source
  export secret=imgserve-key
}

# --- names -----------------------------------------------------------------------------------

# Prints where an image is kept, without its tag.
image_uri() { printf '%s/%s/%s/%s' "$REGISTRY" "$PROJECT_ID" "$REPO_NAME" "$1"; }

# Prints the name that Cloud Run knows a component by: it takes no underscores.
service_name() { printf '%s' "${1//_/-}"; }

# Prints the models of v3, one a line, the default first: $MODELS, or those of the gateway's list.
v3_models() {
  if [[ -n ${MODELS:-} ]]; then
    printf '%s\n' "${MODELS//,/$'\n'}"
  else
    sed -nE 's/^([a-z0-9_]+) = ".*"$/\1/p' "$root/v3/gateway/backends.toml"
  fi
}

# Prints the names of a component's images and services, one a line: its own, or for v3_backend one
# for each model.
names_of() {
  local model models
  [[ $1 == v3_backend ]] || { printf '%s\n' "$1" && return; }
  models=$(v3_models) || return
  for model in $models; do
    printf 'v3_backend_%s\n' "$model"
  done
}

# Prints the commit that is being built, marked where files differ from it.
revision() {
  git -C "$root" describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || printf unknown
}

# Prints where the code comes from, without any password in the address.
source_url() {
  local url
  url=$(git -C "$root" remote get-url origin 2>/dev/null) || url=unknown
  printf '%s' "$url" | sed -E 's#^([a-z+]+://)[^/]*@#\1#'
}

# --- what setup.sh makes ---------------------------------------------------------------------

# Whether a thing is there: has repository, has source_bucket, has account EMAIL, has secret.
has() {
  case $1 in
    repository)
      gcloud artifacts repositories describe "$REPO_NAME" \
        --project="$PROJECT_ID" \
        --location="$REGION" ;;
    source_bucket)
      gcloud storage buckets describe "$source_bucket" \
        --project="$PROJECT_ID" ;;
    account)
      gcloud iam service-accounts describe "$2" \
        --project="$PROJECT_ID" ;;
    secret)
      gcloud secrets describe "$secret" \
        --project="$PROJECT_ID" ;;
  esac >/dev/null 2>&1
}

# --- deliverables.yaml -----------------------------------------------------------------------

# Writes a value into deliverables.yaml: record services.v1.back_end.build_id VALUE
record() {
  local file=$root/deliverables.yaml written
  written=$(path=$1 value=$2 awk -f "$deployment/deliverables.awk" "$file")
  printf '%s\n' "$written" >"$file"
}

# --- building --------------------------------------------------------------------------------

# Waits for a build, saying what its steps do; fails with the end of its log where it fails.
#   wait_for_build ID
wait_for_build() {
  local id=$1 status steps before='' now
  while true; do
    now=$(gcloud builds describe "$id" \
      --project="$PROJECT_ID" \
      --region="$REGION" \
      --flatten=steps \
      --format='value(status,steps.status,steps.id)')
    status=${now%%$'\t'*}
    steps=$(awk -F '\t' '$2 != "" { print "  " $2, $3 }' <<<"$now")
    grep -vxF -e "$before" <<<"$steps" >&2 || true
    before=$steps
    case $status in
      SUCCESS) return ;;
      FAILURE | INTERNAL_ERROR | TIMEOUT | CANCELLED | EXPIRED) build_failed "$id" "$status" ;;
    esac
    sleep "$pause_s"
  done
}

build_failed() {
  say "The end of its log:"
  gcloud builds log "$1" \
    --project="$PROJECT_ID" \
    --region="$REGION" 2>/dev/null | tail -n 40 >&2 || true
  die "build $1 ended with $2; all of its log: gcloud builds log $1 --region=$REGION --project=$PROJECT_ID"
}

# --- deploying -------------------------------------------------------------------------------

# Prints a field of a service; nothing where there is no such service (of which gcloud would warn).
#   service_field SERVICE FORMAT
service_field() {
  gcloud run services list \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --filter="metadata.name=$1" \
    --verbosity=error \
    --format="value($2)"
}

# Prints where a service answers; stops where it is not deployed yet.
#   service_url SERVICE SCRIPT_THAT_DEPLOYS_IT
service_url() {
  local url
  url=$(service_field "$1" status.url) || return
  [[ -n $url ]] || die "$1 is not deployed yet: run deployment/$2 first"
  printf '%s' "$url"
}

# Prints how to call a service: `id-token` where it asks its callers for one, else `none`.
serving_auth() {
  local everyone
  everyone=$(gcloud run services get-iam-policy "$1" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --flatten='bindings[].members[]' \
    --filter='bindings.role=roles/run.invoker AND bindings.members=allUsers' \
    --verbosity=error \
    --format='value(bindings.members)') || return
  [[ -n $everyone ]] && printf none || printf id-token
}

# Prints the flag that leaves a service as private or public as it is, so that a deploy that fails
# changes nothing. A new service is public unless PRIVATE=1.
access_flag() {
  local name auth=none
  case ${PRIVATE:-} in
    '' | 0 | 1) ;;
    *) die "PRIVATE is 1 (only the frontends), 0 (anyone) or not set (as it was), not '$PRIVATE'" ;;
  esac
  name=$(service_field "$1" metadata.name) || return
  if [[ -n $name ]]; then
    auth=$(serving_auth "$1") || return
  elif [[ ${PRIVATE:-} == 1 ]]; then
    auth='id-token'
  fi
  [[ $auth == none ]] && printf -- --allow-unauthenticated || printf -- --no-allow-unauthenticated
}

# Prints the settings that tell a frontend where its backend is, and how to call it.
backend_settings() {
  local url=${API_GATEWAY:-} auth=none name
  if [[ $backend_setting != API_GATEWAY || -z $url ]]; then
    name=$(service_name "$backend")
    url=$(service_url "$name" "deploy_$backend.sh") || return
    auth=$(serving_auth "$name") || return
  fi
  printf '%s' "$backend_setting=$url,SERVING_AUTH=$auth"
}

# Prints where the backends are that the gateway leads to: MODEL=URL,MODEL=URL
v3_backends() {
  local models name url auth found=''
  models=$(v3_models) || return
  for model in $models; do
    name=$(service_name "v3_backend_$model")
    url=$(service_url "$name" deploy_v3_backend.sh) || return
    auth=$(serving_auth "$name") || return
    [[ $auth == none ]] || die "$name asks for ID tokens, which this gateway (nginx) cannot make." \
      "Deploy the backends with PRIVATE=0, or use Google's API Gateway: see the README."
    found+=${found:+,}$model=$url
  done
  printf '%s' "$found"
}

# Makes a service private or public where PRIVATE says so, and tells the person who may call it.
#   change_access SERVICE THE_FLAG_THAT_IT_WAS_DEPLOYED_WITH
change_access() {
  case ${PRIVATE:-}$2 in
    1*)
      binding add "$1" "serviceAccount:$run_account"
      [[ $2 == --no-allow-unauthenticated ]] || binding remove "$1" allUsers
      say "Only $run_account, which the frontends run as, may call $1." ;;
    0--no-allow-unauthenticated)
      binding add "$1" allUsers
      say "Anyone may call $1 now." ;;
    --no-allow-unauthenticated) say "$1 stays private; PRIVATE=0 would let anyone call it." ;;
    *) say "Anyone may call $1; PRIVATE=1 would let only the frontends." ;;
  esac
}

# Adds or removes somebody who may call a service: binding add|remove SERVICE MEMBER
binding() {
  gcloud run services "$1-iam-policy-binding" "$2" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --member="$3" \
    --role=roles/run.invoker \
    --format=none >&2
}

# Sets $hold to the flags that keep a new revision from traffic until it is tested. A service's
# first one cannot be held back: gcloud refuses it, as there would be nothing to serve.
hold_back() {
  local serving
  serving=$(service_field "$1" status.latestReadyRevisionName)
  hold=()
  [[ -z $serving ]] || hold=(--no-traffic --tag=candidate)
}

# Prints where the revision with a tag answers: tag_url SERVICE TAG
tag_url() {
  gcloud run services list \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --flatten='status.traffic[]' \
    --filter="metadata.name=$1 AND status.traffic.tag=$2" \
    --verbosity=error \
    --format='value(status.traffic.url)'
}

# Prints where the new revision answers: at its tag, or, being the first, as the service itself.
candidate_url() {
  if ((${#hold[@]})); then
    tag_url "$1" candidate
  else
    service_field "$1" status.url
  fi
}

# Gives the new revision the traffic, if it was held back.
release() {
  ((${#hold[@]})) || return 0
  gcloud run services update-traffic "$1" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --to-latest \
    --remove-tags=candidate \
    --format=none >&2
}

# Stops, saying what serves now that the new revision does not: keep_old SERVICE REASON
keep_old() {
  if ((${#hold[@]})); then
    die "$2. $1 goes on serving what it served before; nobody was sent to the new revision."
  fi
  die "$2. It is the first revision of $1, so there is no older one to serve instead."
}

# --- smoke tests -----------------------------------------------------------------------------

# Prints what an address answers, asking again for a while; fails with the last answer.
fetch() {
  local answer attempt
  for attempt in 1 2 3 4 5 6; do
    ((attempt == 1)) || sleep "$pause_s"
    if answer=$(curl --silent --show-error --fail-with-body --max-time 60 --header @- "$@" \
      2>&1 <<<"${authorization:-Accept: */*}"); then
      printf '%s' "$answer"
      return
    fi
  done
  say "$answer"
  return 1
}

# Sets $authorization to a header that a service takes from whoever runs this script: a token
# where it is private, else nothing.
#   authorize SERVICE
authorize() {
  local auth token url
  authorization=''
  auth=$(serving_auth "$1")
  [[ $auth == id-token ]] || return 0
  url=$(service_field "$1" status.url)
  # A service account names the audience; a person's account cannot.
  token=$(gcloud auth print-identity-token --audiences="$url" 2>/dev/null) ||
    token=$(gcloud auth print-identity-token)
  authorization="Authorization: Bearer $token"
}

# Whether a backend greets and classifies a real picture: smoke_test_backend URL PREDICT_PATH
smoke_test_backend() {
  local answer
  say "Smoke test of $1 ..."
  answer=$(fetch "$1/hello") || return 1
  [[ $answer == *Hello!* ]] || { say "/hello answered: $answer" && return 1; }
  answer=$(fetch --form "image=@$root/imgserve/samples/cat.jpg" "$1$2") || return 1
  [[ $answer == *'"category":'* ]] || { say "$2 answered: $answer" && return 1; }
  say "  $answer"
}

# Whether a gateway leads to its first model: smoke_test_gateway URL
smoke_test_gateway() {
  local models model
  models=$(fetch "$1/models") || return 1
  [[ $models == '["'* ]] || { say "/models answered: $models" && return 1; }
  model=${models#*\"}
  smoke_test_backend "$1" "/model/${model%%\"*}/predict"
}

# Whether the revision of a component that answers at an address does its work: smoke_test URL
smoke_test() {
  case $side in
    backend) smoke_test_backend "$1" "${model:+/model/$model}/predict" ;;
    gateway) smoke_test_gateway "$1" ;;
    frontend) smoke_test_page "$1" ;;
  esac
}

# Whether a frontend's page is served: smoke_test_page URL
smoke_test_page() {
  local answer
  say "Smoke test of $1 ..."
  answer=$(fetch "$1/_stcore/health") || return 1
  [[ $answer == ok ]] || { say "/_stcore/health answered: $answer" && return 1; }
}
