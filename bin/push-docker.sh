#!/usr/bin/env bash
# push-docker.sh: build one folder's image and push it. `bin/push-docker.sh --help` lists the options.
# push-all-docker.sh sources this file for its functions.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

OPTIONS="--group, --registry, --tag, --serving auto|cpu|gpu|embedded, --no-push, --sbom, --help"

usage() {
  cat <<U
usage: bin/push-docker.sh FOLDER [OPTION...]

Builds the image of FOLDER, which has a Dockerfile, and pushes it to the registry.

$(option_help)
U
}

option_help() {
  cat <<U
  --registry HOST:PORT           the registry to push to ($(setting LAB_REGISTRY); bin/registry.sh up starts one)
  --group NAME                   the first part of the image's name ($(setting LAB_GROUP))
  --tag TAG                      its tag ($(setting LAB_TAG))
  --serving auto|cpu|gpu|embedded
                                 the model server ($(setting LAB_SERVING)): TensorFlow Serving for CPU or GPU, or the
                                 embedded server; auto: cpu if TensorFlow Serving's image can be found, else embedded
  --no-push                      build only
  --sbom                         then write bills of materials (CycloneDX) of the images and lock files to .lab/sbom
  -h, --help                     this text
Defaults are in versions.env; LAB_REGISTRY, LAB_GROUP, LAB_TAG and LAB_SERVING in the environment win.
The builds' output goes to .lab/build/IMAGE.log.
U
}

main() {
  read_options "$@"
  ((${#FOLDERS[@]} == 1)) || refuse "one folder is wanted, as in: bin/push-docker.sh tensor-rest (found ${#FOLDERS[@]})"
  check "${FOLDERS[0]}"
  build "${FOLDERS[0]}"
  show "${FOLDERS[0]}"
  push "${FOLDERS[0]}"
  sbom "${FOLDERS[0]}"
}

read_options() { # sets REGISTRY, GROUP, TAG, SERVING, PUSH, SBOM and FOLDERS
  SBOM=''
  REGISTRY=$(setting LAB_REGISTRY) GROUP=$(setting LAB_GROUP) TAG=$(setting LAB_TAG) PUSH=yes FOLDERS=()
  set_option --serving "$(setting LAB_SERVING)"
  while (($#)); do
    case $1 in
      --registry | --group | --tag | --serving) (($# > 1)) || refuse "$1 needs a value"; set_option "$1" "$2"; shift ;;
      --registry=* | --group=* | --tag=* | --serving=*) set_option "${1%%=*}" "${1#*=}" ;;
      --no-push) PUSH='' ;;
      --sbom) SBOM=yes ;;
      -h | --help) usage; exit 0 ;;
      -*) refuse "unknown option '$1'; the options are $OPTIONS" ;;
      *) FOLDERS+=("${1%/}") ;;
    esac
    shift
  done
}

set_option() { # set_option NAME VALUE
  [[ -n $2 && $2 != -* ]] || refuse "$1 needs a value"
  case $1 in
    --registry) REGISTRY=$2 ;;
    --group) GROUP=$2 ;;
    --tag) TAG=$2 ;;
    --serving)
      [[ $2 =~ ^(auto|cpu|gpu|embedded)$ ]] || refuse "--serving is auto, cpu, gpu or embedded, not '$2'"
      SERVING=$2
      ;;
  esac
}

check() { # check FOLDER...: find what would make a build fail, before anything is built
  local folder base
  for folder; do
    [[ -f $(dockerfile "$folder") ]] || die "$(dockerfile "$folder") is not there; FOLDER is one with a Dockerfile"
  done
  need_docker
  for folder; do
    [[ $(name_of "$folder") != tensor-serving-auto ]] || choose_serving
    base=$(base_image "$folder")
    [[ -z $base ]] || have_image "$base" || pull_base "$base"
  done
}

choose_serving() { # set SERVING, and print the reason
  local base why="can be pulled"
  base=$(setting TF_SERVING_IMAGE)
  SERVING=cpu
  if [[ $(uname -m) != x86_64 ]]; then
    SERVING=embedded why="is published for x86-64 only"
  elif have_image "$base"; then
    why="is here"
  elif ! timeout 20 docker manifest inspect "$base" >/dev/null 2>&1; then
    SERVING=embedded why="is not here and cannot be pulled"
  fi
  echo "the model server is the $SERVING one: $base $why"
}

pull_base() { # pull_base REFERENCE
  local said hint="bin/base-image.sh makes it from Debian packages"
  [[ $1 == "$(setting PYTHON_IMAGE)" ]] || hint="--serving embedded does without it"
  echo "pulling $1 ..."
  said=$(docker pull --quiet "$1" 2>&1) || die "the base image $1 cannot be pulled ($hint): ${said##*$'\n'}"
}

build() { # build FOLDER: write all output to a log; print its last lines if the build fails
  local image log arguments
  image=$(image_of "$1")
  log=$(state_folder build)/$(name_of "$1").log
  mapfile -t arguments < <(build_arguments "$1")
  echo "building $image ..."
  docker build --tag "$image" --file "$(dockerfile "$1")" "${arguments[@]}" "$1" >"$log" 2>&1 || {
    echo "${0##*/}: $image could not be built. The last lines of $log:" >&2
    tail -n 15 "$log" | sed 's/^/    /' >&2
    return 1
  }
}

build_arguments() { # print them, one per line; a proxy is passed by name, so that its password is in no image
  local name base
  base=$(base_image "$1")
  [[ -z $base ]] || echo "--build-arg=BASE_IMAGE=$base"
  PYTHONPATH=$ROOT/.deploy "$(find_python)" -B -m lab_engine.docker.source "$(realpath "$1")"
  takes "$1" LAB_VERSION && echo "--build-arg=LAB_VERSION=$(version_of LAB_VERSION)"
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [[ -z ${!name:-} ]] || echo "--build-arg=$name"
  done
}

show() { # show FOLDER
  local image
  image=$(image_of "$1")
  printf 'registry:   %s\ndockerfile: %s\nimage:      %s\n\n' "$REGISTRY" "$(dockerfile "$1")" "${image#"$REGISTRY"/}"
}

push() { # push FOLDER
  local image said
  [[ -n $PUSH ]] || return 0
  image=$(image_of "$1")
  said=$(docker push --quiet "$image" 2>&1) ||
    die "$image is built, but could not be pushed (bin/registry.sh up starts a registry): ${said##*$'\n'}"
}

sbom() { # sbom FOLDER...: called after the push, so that a bill names the digest in the registry
  local folder arguments=(--release "$(version_of LAB_VERSION)")
  [[ -n $SBOM ]] || return 0
  for folder; do
    arguments+=(--image "$(image_of "$folder")")
    [[ ! -f $folder/requirements.txt ]] || arguments+=(--lock "$folder/requirements.txt")
  done
  ((${#FOLDERS[@]} == 1)) || arguments+=(--lock "$ROOT/.deploy/requirements.txt") # the whole lab's
  install_sbom_tool
  PYTHONPATH=$ROOT/.deploy "$(state_folder sbom)/tool/bin/python" -B -m lab_sbom "$(state_folder sbom)" "${arguments[@]}"
}

install_sbom_tool() { # into an environment of its own: few users need it, and nothing else in the lab depends on it
  local lock=$ROOT/.deploy/lab_sbom/requirements.txt tool
  tool=$(state_folder sbom)/tool
  ! cmp -s "$lock" "$tool/installed.txt" || return 0
  "$(find_python)" -m venv --clear "$tool"
  "$tool/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --requirement "$lock"
  cp "$lock" "$tool/installed.txt"
}

base_image() { # print the base image for the folder's Dockerfile, if it takes one as an argument
  takes "$1" BASE_IMAGE || return 0
  case $(name_of "$1") in
    tensor-serving-cpu) setting TF_SERVING_IMAGE ;;
    tensor-serving-gpu) echo "$(setting TF_SERVING_IMAGE)-gpu" ;;
    *) setting PYTHON_IMAGE ;;
  esac
}

takes() { grep -q "^ARG $2\b" "$(dockerfile "$1")"; } # takes FOLDER ARGUMENT

name_of() { # print the image's name, the folder's; tensor-serving-gpu has three variants of one image
  local name
  name=$(basename "$(realpath "$1")")
  [[ $name == tensor-serving-gpu ]] && name=tensor-serving-$SERVING
  echo "$name"
}

image_of() { echo "$REGISTRY/$GROUP/$(name_of "$1"):$TAG"; }

dockerfile() {
  if [[ $(name_of "$1") == tensor-serving-embedded ]]; then
    echo "$1/Dockerfile.embedded"
  else
    echo "$1/Dockerfile"
  fi
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
