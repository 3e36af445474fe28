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
own_models=$root/.own_models # what a build is sent beside the repository's files
script=$(basename "$0")
pause_s=${PAUSE_S:-3} # between two questions about the same thing
gcloud_since=528      # has `run deploy --min`
curl_since=7.55       # has `--header @-`
component=''                 # what is described (components.sh)
template=${BASH_SOURCE[1]:-} # the script that sources this, whose comment says how it is used

# --- beginning -------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$script: $*"
  exit 1
}

# Stops, saying what a script takes and how it is used.
refuse() {
  say "$script takes $1."
  usage >&2
  exit 2
}

# Prints the comment at the top of a file, without its first line.
top_comment() {
  awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"
}

# Prints how a script is used: where a component is chosen, without what only others read.
usage() {
  local shown='*'
  case $component/${template##*/} in
    ?*/deploy_*) shown=$deploy_reads ;;
    ?*/submit_build_*) shown=$build_reads ;;
  esac
  top_comment "$template" | awk -v component="${component:-COMPONENT}" -v shown=" $shown " '
    !/^     / { skip = /^  [A-Z_]+  / && shown != " * " && !index(shown, " " $1 " ") }
    { gsub(/COMPONENT/, component) }
    !skip && !(blank && /^$/) { print; blank = /^$/ }'
  printf '\n'
  top_comment "$deployment/lib.sh" | awk '/^All scripts here read/ { on = 1 } on'
}

# Answers -h, refuses other words, and settles the variables that every script reads.
begin() {
  answer_help "$@"
  (($# == 0)) || refuse "no '$1'"
  settle
}

# Describes a component, or answers -h, or stops: choose_component COMPONENT [WORD...]
choose_component() {
  describe "${1:-}" || true
  answer_help "$@"
  [[ -n $component ]] || refuse "a component, not '${1:-}'"
}

answer_help() {
  case " $* " in
    *' -h '* | *' --help '*) usage && exit 0 ;;
  esac
}

settle() {
  command -v gcloud >/dev/null ||
    die "gcloud is missing: install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install"
  [[ -n ${PROJECT_ID:-} ]] || PROJECT_ID=$(gcloud config get-value project 2>/dev/null) || true
  REGION=${REGION:-northamerica-northeast1}
  BUILD_REGION=${BUILD_REGION:-$REGION}
  REPO_NAME=${REPO_NAME:-imgserve}
  REGISTRY=${REGISTRY:-$REGION-docker.pkg.dev}
  [[ -n $PROJECT_ID ]] || die "set PROJECT_ID, for example: PROJECT_ID=... deployment/$script"
  settle_project
  export build_account=imgserve-build@$PROJECT_ID.iam.gserviceaccount.com
  export run_account=imgserve-run@$PROJECT_ID.iam.gserviceaccount.com         # of frontends
  export backend_account=imgserve-backend@$PROJECT_ID.iam.gserviceaccount.com # of all others
  export source_bucket=gs://$PROJECT_ID-imgserve-source
}

# Fails, saying which, where gcloud or curl is older than what the scripts are tested with or need.
check_versions() {
  local found
  found=$(gcloud version | sed -n 's/^Google Cloud SDK //p')
  is_since "$gcloud_since" "$found" || { say "gcloud is ${found:-unknown}: gcloud components update" && return 1; }
  found=$(curl --version | sed -n '1s/^curl \([^ ]*\).*/\1/p')
  is_since "$curl_since" "$found" || { say "curl is ${found:-missing}: install a newer one" && return 1; }
}

is_since() { [[ -n $2 ]] && printf '%s\n' "$1" "$2" | sort -V -C; }

# Makes the number of a project its id, and stops at what is no id.
# https://cloud.google.com/resource-manager/docs/creating-managing-projects
settle_project() {
  local id LC_ALL=C
  if [[ $PROJECT_ID =~ ^[0-9]+$ ]]; then
    id=$(gcloud projects describe "$PROJECT_ID" \
      --format='value(projectId)') || die "there is no project with the number $PROJECT_ID that you may see"
    PROJECT_ID=$id
  fi
  [[ $PROJECT_ID != *:* ]] || die "the project $PROJECT_ID belongs to a domain, so its accounts and" \
    "images have names that these scripts do not make: set PROJECT_ID to one without a colon"
  [[ ! $PROJECT_ID =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]] || return 0
  id=$(gcloud projects list \
    --filter="name=\"$PROJECT_ID\"" \
    --format='value(projectId)' 2>/dev/null) || id=''
  die "'$PROJECT_ID' is no project id, which has 6 to 30 lower-case letters, digits and hyphens:" \
    "set PROJECT_ID to ${id:-one that \`gcloud projects list\` shows}"
}

# --- names -----------------------------------------------------------------------------------

# Prints where an image is kept, without its tag.
image_uri() { printf '%s/%s/%s/%s' "$REGISTRY" "$PROJECT_ID" "$REPO_NAME" "$1"; }

# Prints the name that Cloud Run knows a component by: it takes no underscores.
service_name() { printf '%s' "${1//_/-}"; }

# Prints the models of v3, one a line, the default first: $MODELS, or those of the gateway's list.
v3_models() {
  local listed
  listed=$(sed -nE 's/^([a-z0-9_]+) = ".*"$/\1/p' "$root/v3/gateway/backends.toml") || return
  tr -s ', ' '\n' <<<"${MODELS:-$listed}"
}

# Prints the names of the images and services of what is described: v3_backend has one for each model.
list_names() {
  if [[ $component$model == v3_backend ]]; then
    v3_models | sed -n 's/./v3_backend_&/p'
  else
    printf '%s\n' "$component${model:+_$model}"
  fi
}

# --- what setup.sh makes ---------------------------------------------------------------------

export secrets='imgserve-key imgserve-backend-key' # of frontends, of backends

# Whether a thing is there: has repository|bucket|account|secret NAME
# Stops where that cannot be found out.
has() {
  local said attempt=0
  until said=$(describe_made "$@" 2>&1 >/dev/null); do
    [[ $said != *NOT_FOUND* && $said != *'not found'* ]] || return 1
    again "$((attempt += 1))" "$said" || die "could not find out whether the $1 $2 is there"
  done
}

describe_made() {
  case $1 in
    repository)
      gcloud artifacts repositories describe "$2" \
        --project="$PROJECT_ID" \
        --location="$REGION" ;;
    bucket)
      gcloud storage buckets describe "$2" \
        --project="$PROJECT_ID" ;;
    account)
      gcloud iam service-accounts describe "$2" \
        --project="$PROJECT_ID" ;;
    secret)
      gcloud secrets describe "$2" \
        --project="$PROJECT_ID" ;;
  esac
}

# --- waiting ---------------------------------------------------------------------------------

# What is granted is known everywhere after 2 minutes, sometimes 7; so many attempts, each after a
# longer pause, take that long. https://cloud.google.com/iam/docs/access-change-propagation
attempts=17

# Runs a command until it succeeds, as long as it fails for what passes by itself: whatever it says,
# or only lines with $passes, while the others are passed on at once.
patiently() {
  local said attempt=0
  until said=$("$@" 2>&1 | awk -v passes="${passes:-.}" '
    $0 ~ passes { print; next }
    { print >"/dev/stderr"; fflush("/dev/stderr") }'); do
    again "$((attempt += 1))" "$said" || return 1
  done
  [[ -z $said ]] || say "$said"
}

# Says why a call failed, and waits where that passes by itself: again ATTEMPT SAID
again() {
  local why
  [[ -z $2 ]] || say "$2"
  case $2 in
    *'has not been used'* | *SERVICE_DISABLED*) why='The API was just enabled' ;;
    *PERMISSION_DENIED* | *' 403'*)
      say "Your account may not do this: docs/deploying.md has the roles that it needs." && return 1 ;;
    *NOT_FOUND* | *'not found'* | *'does not exist'*) why='It was just made' ;;
    *ABORTED* | *onflict* | *concurrent*) why='Somebody else changed it just now' ;;
    *update-traffic*'is not ready'*) why="Another deploy's revision has failed and is still tagged" ;;
    *UNAVAILABLE* | *INTERNAL* | *DEADLINE_EXCEEDED* | *' 50'[0-9]*) why='Google has a fault' ;;
    *) return 1 ;;
  esac
  (($1 < attempts)) || return 1
  say "$why: trying again in $(($1 * pause_s)) s ($1 of $attempts, 7 minutes in all) ..."
  sleep "$(($1 * pause_s))"
}

# --- deliverables.yaml -----------------------------------------------------------------------

# Writes a value into deliverables.yaml: record services.v1.back_end.build_id VALUE
record() {
  local file=$root/deliverables.yaml written
  written=$(path=$1 value=$2 awk -f "$deployment/deliverables.awk" "$file")
  printf '%s\n' "$written" >"$file"
}

# --- models of one's own ---------------------------------------------------------------------

# Puts what a description names for these models under keys where the build looks for it, with the
# description; or under a name that it has there. Says its size.
#   send_own_files MODEL,MODEL KEY|KEY [NAME]
send_own_files() {
  local file folder model path paths own='' kind=${3:-files}
  file=$(models_file)
  folder=$(dirname "$file")
  for model in ${1//,/ }; do
    paths=$(own_files "$file" "$model" "$2") || continue
    own+=" $model"
    while IFS= read -r path; do
      [[ $path != /* && /$path/ != */../* ]] ||
        die "$file names $path for $model, which cannot be sent: keep it beside $file, or at gs://"
      [[ -e $folder/$path ]] || die "$file names $path for $model, which is not there"
      mkdir -p "$own_models/$(dirname "${3:-$path}")"
      cp -R "$folder/$path" "$own_models/${3:-$path}"
    done < <(grep . <<<"$paths")
  done
  [[ -z $own || -n ${3:-} ]] || { mkdir -p "$own_models" && cp "$file" "$own_models/models.toml"; }
  [[ ! -d $own_models ]] || say "Sending the ${kind#own_} of$own: $(du -sh "$own_models" | cut -f1)"
}

# Prints which file describes models of one's own: an empty one, where there is none.
models_file() {
  local file=${MODELS_FILE:-$root/models.toml}
  [[ -f $file || -z ${MODELS_FILE:-} ]] || die "MODELS_FILE=$MODELS_FILE is not there"
  [[ -f $file ]] || file=/dev/null
  printf '%s' "$file"
}

# Prints the local files that a description names for a model under keys; fails where it does not
# describe it. It reads lines of KEY = "VALUE", as in docs/own-model.md.
#   own_files FILE MODEL KEY|KEY
own_files() {
  awk -v model="$2" -v keys="$3" '
    /^[ \t]*\[/ { on = ($0 ~ "^[ \t]*\\[[ \t]*" model "[ \t]*\\]"); described = described || on }
    on && $0 ~ "^[ \t]*(" keys ")[ \t]*=[ \t]*[\"\047]" {
      sub(/^[^"\047]*["\047]/, ""); sub(/["\047].*/, "")
      if (!/:\/\//) { print; if (sub(/\.xml$/, ".bin")) print }
    }
    END { exit !described }' "$1"
}

# --- building --------------------------------------------------------------------------------

# Passes on what gcloud says, and explains it where a project may not build in this region.
# https://cloud.google.com/build/docs/locations#restricted_regions_for_some_projects
explain_region() {
  local line restricted=''
  while IFS= read -r line || [[ -n $line ]]; do
    say "$line"
    [[ $line != *'cannot run builds'* ]] || restricted=yes
  done
  [[ -z $restricted ]] || say "$script: $PROJECT_ID may not build in $BUILD_REGION. Set BUILD_REGION to" \
    "one of us-central1, us-west2, europe-west1, asia-east1, australia-southeast1 and" \
    "southamerica-east1; it runs in $REGION all the same."
}

# Waits for a build, saying what its steps do; fails with the end of its log where it fails.
#   wait_for_build ID
wait_for_build() {
  local id=$1 status steps before='' now
  while true; do
    now=$(gcloud builds describe "$id" \
      --project="$PROJECT_ID" \
      --region="$BUILD_REGION" \
      --flatten=steps \
      --format='value(status,steps.status,steps.id)')
    status=${now%%$'\t'*}
    steps=$(awk -F '\t' '$2 != "" { print "  " $2, $3 }' <<<"$now")
    grep -vxF -e "$before" <<<"$steps" >&2 || true
    before=$steps
    case $status in
      SUCCESS) return ;;
      FAILURE | INTERNAL_ERROR | TIMEOUT | CANCELLED | EXPIRED) break ;;
    esac
    sleep "$pause_s"
  done
  say "The end of its log:"
  gcloud builds log "$id" \
    --project="$PROJECT_ID" \
    --region="$BUILD_REGION" 2>/dev/null | tail -n 40 >&2 || true
  die "build $id ended with $status; all of its log: gcloud builds log $id --region=$BUILD_REGION --project=$PROJECT_ID"
}

# --- deploying -------------------------------------------------------------------------------

# Prints a field of a service, or of those parts of its traffic that fit a filter; nothing where there
# is no such service (of which gcloud would warn).
#   service_field SERVICE FORMAT [TRAFFIC_FILTER]
service_field() {
  gcloud run services list \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    ${3:+--flatten='status.traffic[]'} \
    --filter="metadata.name=$1${3:+ AND status.traffic.$3}" \
    --verbosity=error \
    --format="value($2)"
}

# Prints who may call a service, as Cloud Run has it: `everyone`, `frontends` (the account that they
# run as), `iap` (people whom Identity-Aware Proxy lets in) or `others`.
callers_of() {
  local switches members
  switches=$(service_field "$1" "metadata.annotations['run.googleapis.com/invoker-iam-disabled'],metadata.annotations['run.googleapis.com/iap-enabled']") || return
  members=$(gcloud run services get-iam-policy "$1" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    --flatten='bindings[].members[]' \
    --filter='bindings.role=roles/run.invoker' \
    --verbosity=error \
    --format='value(bindings.members)') || return
  case $switches$'\n'$members$'\n' in
    *$'\ttrue\n'*) printf iap ;;
    true* | *$'\nallUsers\n'*) printf everyone ;;
    *$'\n'"serviceAccount:$run_account"$'\n'*) printf frontends ;;
    *) printf others ;;
  esac
}

# Sets $url to where a service answers and $callers to who may call it; stops where it is not deployed.
#   find_service NAME COMPONENT
find_service() {
  service=$(service_name "$1")
  url=$(service_field "$service" status.url)
  [[ -n $url ]] || die "$service is not deployed yet: run deployment/deploy_$2.sh first"
  callers=$(callers_of "$service")
}

# Sets $settings to those that tell a frontend where its backend is, and how to call it; stops where it
# may not.
find_backend() {
  local url=${API_GATEWAY:-} callers=everyone service auth=none
  [[ $backend_setting == API_GATEWAY && -n $url ]] || find_service "$backend" "$backend"
  case $callers in
    everyone) ;;
    frontends) auth="id-token" ;;
    *) die "$service lets neither everyone nor $run_account call it: run PRIVATE=1 deployment/deploy_$backend.sh first" ;;
  esac
  export settings=$backend_setting=$url,SERVING_AUTH=$auth
}

# Sets $backends to where those are that the gateway leads to: MODEL=URL,MODEL=URL
find_v3_backends() {
  local models model service url callers
  models=$(v3_models)
  backends=''
  for model in $models; do
    find_service "v3_backend_$model" v3_backend
    [[ $callers == everyone ]] || die "$service asks for ID tokens, which this gateway (nginx) cannot make." \
      "Deploy the backends with PRIVATE=0, or use Google's API Gateway: see docs/deploying.md."
    backends+=${backends:+,}$model=$url
  done
}

# Makes a service private or public where PRIVATE says so, and says who may call it then, which an
# organization's policy decides, too. Stops where that is not what PRIVATE says.
change_access() {
  local wanted=$callers
  [[ ${PRIVATE:-} != 1 ]] || wanted=frontends
  [[ ${PRIVATE:-} != 0 ]] || wanted=everyone
  if [[ $callers != "$wanted" ]]; then
    if [[ $wanted == everyone ]]; then
      binding add "$1" allUsers || true
      authorization=''
    else
      binding add "$1" "serviceAccount:$run_account"
      [[ $callers != everyone ]] || binding remove "$1" allUsers || true
    fi
    callers=$(callers_of "$1")
    # What was granted takes minutes: it is asked as everyone may, until it answers.
    [[ "$wanted $callers" != "everyone everyone" ]] || smoke_test "$url" || return
  fi
  say_callers "$1"
  [[ $callers == "$wanted" ]]
}

say_callers() {
  local update="gcloud run services update $1 --region=$REGION --project=$PROJECT_ID" forbidden=''
  # https://cloud.google.com/run/docs/authenticating/public#domain-restricted-sharing
  [[ ${PRIVATE:-} != 0 && $access != --allow-unauthenticated ]] || forbidden="Public access did not \
take: a policy of the organization forbids it, or your account may not grant it. "
  case $side$callers in
    *everyone) say "Anyone may call $1." ;;
    *frontends) say "Only $run_account, which the frontends run as, may call $1." ;;
    *iap) say "Only people whom Identity-Aware Proxy lets in may open $1, so its page was not tested." ;;
    frontendothers) say "Not everyone may open $1." ;;
    *) say "Neither everyone nor $run_account, which the frontends run as, may call $1." ;;
  esac
  case $side${PRIVATE:-}$callers in
    frontendothers)
      say "${forbidden}Where its invoker check may be off, this lets anyone in: $update --no-invoker-iam-check"
      say "Else choose who may: https://cloud.google.com/run/docs/securing/identity-aware-proxy-cloud-run" ;;
    frontend* | *1frontends) ;;
    *1everyone) say "If its invoker check is off, this turns it on: $update --invoker-iam-check" ;;
    *everyone) say "PRIVATE=1 would let only the frontends." ;;
    *0frontends | *others) say "${forbidden}PRIVATE=1 deployment/deploy_$component.sh lets the frontends call it." ;;
    *) say "PRIVATE=0 would let anyone." ;;
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

# Sets $tag to the tag that a new revision has while it is kept from traffic and tested, and $access
# to the flag that says who may call a new service; one that is there stays as it is. A service's
# first revision cannot be held back: gcloud refuses it, as there would be nothing to serve.
hold_back() {
  local there
  there=$(service_field "$1" metadata.name,status.latestReadyRevisionName)
  tag=''
  export access=''
  case $there in
    '') [[ ${PRIVATE:-} == 1 ]] && access=--no-allow-unauthenticated || access=--allow-unauthenticated ;;
    *$'\t'?*)
      remove_tags "$1" 60
      tag=$(new_tag) ;;
  esac
}

# Prints a tag that no other run of these scripts has: the minute, and at random. It has 15
# characters, as a tag and its service's name may have 46 together.
new_tag() { printf 'try-%x%04x' $(($(date +%s) / 60)) $RANDOM; }

# Removes the tags that these scripts made so many minutes ago or earlier, and then were cut off: a
# revision that never started keeps its tag, and with it no change of traffic would succeed.
#   remove_tags SERVICE MINUTES
remove_tags() {
  local name now tags old=''
  now=$(date +%s)
  tags=$(service_field "$1" 'spec.traffic[].tag')
  for name in ${tags//;/ }; do
    [[ $name =~ ^try-([0-9a-f]+)[0-9a-f]{4}$ ]] || continue
    ((now / 60 - 16#${BASH_REMATCH[1]} < $2)) || old+=${old:+,}$name
  done
  [[ -z $old ]] || update_traffic "$1" --remove-tags="$old"
}

# Prints the revision that has a service's traffic.
serving_revision() { service_field "$1" status.traffic.revisionName 'percent>0' | sed -n 1p; }

# Sets $candidate to the revision that a service's $tag is on and $url to where it answers; a first
# revision has no tag, and answers as the service itself.
find_candidate() {
  if [[ -n $tag ]]; then
    url=$(service_field "$1" status.traffic.revisionName,status.traffic.url "tag=$tag")
    export candidate=${url%%$'\t'*}
    url=${url#*$'\t'}
  else
    url=$(service_field "$1" status.url)
  fi
  [[ -n $url ]] || { say "$1 has no address for the new revision${tag:+: its tag $tag is gone}." && return 1; }
}

# Changes which revisions have traffic and tags: update_traffic SERVICE FLAG...
update_traffic() {
  patiently gcloud run services update-traffic "$1" \
    --project="$PROJECT_ID" \
    --region="$REGION" \
    "${@:2}" \
    --format=none
}

# Takes a tag from the revision that has it: untag SERVICE TAG
untag() {
  local left=unknown
  update_traffic "$1" --remove-tags="$2" && return 0
  left=$(service_field "$1" status.traffic.url "tag=$2") || true
  [[ -z $left ]] || say "The tag $2 of $1 may still be there: $left"
}

# Says what serves after a deploy that failed, of which no tag is left: keep_old SERVICE REASON
keep_old() {
  local serving
  [[ -z $tag ]] || untag "$1" "$tag"
  serving=$(serving_revision "$1") || serving=unknown
  say "$script: $2. What $1 serves now is ${serving:-nothing}."
  [[ -n $tag ]] || say "It is the first revision of $1, so there is no older one to serve instead."
}

# --- smoke tests -----------------------------------------------------------------------------

# Prints what a path answers, asking again for a while; fails with the last answer, or with one that
# does not fit a pattern.
#   fetch URL PATH PATTERN [CURL_OPTION...]
fetch() {
  local url=$1 path=$2 pattern=$3 answer status attempt=0 limit why
  shift 3
  while true; do
    # Its status is asked for: --fail would drop the answer, --fail-with-body needs curl 7.76.
    answer=$(curl --silent --show-error --max-time 60 --write-out '\n%{http_code}' --header @- "$@" \
      "$url$path" 2>&1 <<<"${authorization:-Accept: */*}") || answer+=$'\n000'
    status=${answer##*$'\n'} limit=6 why='It is not up'
    case $status in
      2??) break ;;
      401 | 403) limit=$attempts why='Cloud Run does not let this caller in (what was just granted takes up to 7 minutes)' ;;
      404) why='There is no such address' ;;
    esac
    ((++attempt < limit)) || { say "$answer" && say "$why." && return 1; }
    say "  $status: $why; asking again in $((attempt * pause_s)) s ..."
    sleep "$((attempt * pause_s))"
  done
  answer=${answer%$'\n'*}
  answer=${answer%$'\n'} # as a line ends
  [[ $answer =~ $pattern ]] || { say "$path answered: $answer" && return 1; }
  printf '%s' "$answer"
}

# Sets $callers to who may call a service, and $authorization to a header that it takes from whoever
# runs this script: a token where not everyone may, else nothing.
#   authorize SERVICE
authorize() {
  local token url
  authorization=''
  callers=$(callers_of "$1")
  [[ $callers != everyone && $callers != iap ]] || return 0
  url=$(service_field "$1" status.url)
  # A service account names the audience; a person's account cannot; workload identity asks for another's.
  token=$(gcloud auth print-identity-token --audiences="$url" ${TOKEN_ACCOUNT:+--impersonate-service-account="$TOKEN_ACCOUNT"} 2>/dev/null) ||
    token=$(gcloud auth print-identity-token)
  authorization="Authorization: Bearer $token"
}

# Whether the revision of a component that answers at an address does its work: a backend greets and
# classifies a real picture, a gateway leads to its first model, a frontend's page is served.
#   smoke_test URL
smoke_test() {
  local answer predict=${model:+/model/$model}/predict
  [[ $side$callers != frontendiap ]] || return 0
  if [[ $side == gateway ]]; then
    answer=$(fetch "$1" /models '^\["') || return
    answer=${answer#*\"}
    predict=/model/${answer%%\"*}/predict
  fi
  say "Smoke test of $1 ..."
  if [[ $side == frontend ]]; then
    fetch "$1" /_stcore/health '^ok$' >/dev/null || return
  else
    fetch "$1" /hello Hello! >/dev/null || return
    answer=$(fetch "$1" "$predict" '"category":' --form "image=@$root/imgserve/samples/cat.jpg") || return
    say "  $answer"
  fi
}
