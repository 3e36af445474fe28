# shellcheck shell=bash
# Sourced by lib.sh: the table of what differs between the components.
# After a change here, deployment/write_yaml.sh writes cloudbuild_*.yaml and service_*.yaml anew.

export components='backend_v1 frontend_v1 backend_v2 frontend_v2 v3_backend v3_gateway v3_frontend'

# Sets the values of a component; fails where there is no such one.
#   describe COMPONENT, or v3_backend_MODEL for the service of one model
#
#   side             says which Dockerfile, deployment/Dockerfile.SIDE, and which smoke test
#   folder           of its code
#   deliverable      its entry in deliverables.yaml
#   build_reads, deploy_reads  the variables of its submit_build and its deploy script
#   port, probe      where its container listens, and the path that answers once it is ready
#   cpu, memory, concurrency, timeout  of one container
#   max_instances    containers at most; with session_affinity, a client stays with one of them
#   more_settings    what its containers are told beyond what all are told
#   runs_as          its account
#   secret_setting   the setting for the secret that signs cookies, and in secret its name
#   backend          what a frontend calls, and in backend_setting the setting for its address
#   compiled_models  those in its image, and in models_setting the setting that names them
#   v3_setting       the setting for v3's models, or for the addresses of their services
describe() {
  export component=$1 model='' folder=$1 session_affinity='' more_settings='' secret_setting=''
  export backend='' backend_setting='' compiled_models='' models_setting='' v3_setting='' build_reads='BUILD_REGION WORKER_POOL NO_CACHE'
  export deploy_reads='TAG MIN_INSTANCES MAX_INSTANCES'
  [[ $1 != v3_backend_?* ]] || export component=v3_backend model=${1#v3_backend_}

  case $component in # by side
    backend_v1 | backend_v2 | v3_backend)
      export side=backend port=8000 probe=/ready runs_as=imgserve-backend secret=imgserve-backend-key
      export cpu=2 memory=2Gi concurrency=8 timeout=60 max_instances=4
      build_reads+=' PRECISION MODELS_FILE' deploy_reads+=' PRIVATE FETCH_CONTACT'
      more_settings=${FETCH_CONTACT:+FETCH_CONTACT=$FETCH_CONTACT} ;;
    frontend_v1 | frontend_v2 | v3_frontend)
      export side=frontend port=8501 probe=/_stcore/health runs_as=imgserve-run secret=imgserve-key
      # Streamlit keeps a page's state in one container, over a connection as long as may be:
      # https://cloud.google.com/run/docs/configuring/request-timeout
      export cpu=1 memory=1Gi concurrency=40 timeout=3600 max_instances=2 session_affinity=true
      export secret_setting=STREAMLIT_SERVER_COOKIE_SECRET
      build_reads+=' MODEL_NAME MODELS_FILE' deploy_reads+=' PAGE_TITLE' ;;
    v3_gateway)
      export side=gateway port=8080 probe=/ready runs_as=imgserve-backend secret=''
      export cpu=1 memory=1Gi concurrency=64 timeout=60 max_instances=2
      deploy_reads+=' PRIVATE' ;;
  esac

  case $component in # one by one
    backend_v1)
      export deliverable=services.v1.back_end
      export compiled_models=resnet152 models_setting=MODEL_NAME
      build_reads+=' MODEL_NAME' ;;
    backend_v2)
      export deliverable=services.v2.back_end memory=4Gi more_settings+=${more_settings:+,}MODEL_MEMORY_MB=2048
      export compiled_models=resnet152,convnext_base,swin_b,vgg16,efficientnet_lite0,efficientnet_lite1,efficientnet_lite2
      export models_setting=MODELS secret_setting=SECRET_KEY # the choice of a model is in a cookie
      build_reads+=' MODELS' ;;
    frontend_v1)
      export deliverable=services.v1.front_end backend=backend_v1 backend_setting=SERVING_URL ;;
    frontend_v2)
      export deliverable=services.v2.front_end backend=backend_v2 backend_setting=SERVING_URL ;;
    v3_backend)
      export deliverable=v3.back_ends${model:+.$model} folder=v3/backend
      export compiled_models=efficientnet_lite0 models_setting=MODEL_NAME v3_setting=MODELS
      build_reads+=' MODELS' deploy_reads+=' MODELS' ;;
    v3_gateway)
      export deliverable=v3.gateway folder=v3/gateway v3_setting=BACKENDS
      deploy_reads+=' MODELS' ;;
    v3_frontend)
      export deliverable=v3.front_end folder=v3/frontend
      export backend=v3_gateway backend_setting=API_GATEWAY
      deploy_reads+=' API_GATEWAY' ;;
    *) component='' && return 1 ;;
  esac
}
