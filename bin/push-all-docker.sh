#!/usr/bin/env bash
# push-all-docker.sh: build the image of every folder with a Dockerfile, then push them.
set -euo pipefail
# shellcheck source=push-docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/push-docker.sh"

AT_ONCE=2 # builds; more only share the same network and disk

usage() {
  cat <<U
usage: bin/push-all-docker.sh [OPTION...]

Builds the image of every folder with a Dockerfile, two at once, and pushes them when all are built. If one build fails,
the others are stopped and nothing is pushed.

$(option_help)
U
}

main() {
  read_options "$@"
  ((${#FOLDERS[@]} == 0)) || refuse "'${FOLDERS[0]}' is not understood: this takes every folder; bin/push-docker.sh takes one"
  cd "$ROOT"
  mapfile -t FOLDERS < <(for each in */Dockerfile; do [[ ! -f $each ]] || dirname "$each"; done)
  ((${#FOLDERS[@]})) || die "no folder in $ROOT has a Dockerfile"
  check "${FOLDERS[@]}"
  build_all
  local folder
  for folder in "${FOLDERS[@]}"; do
    show "$folder"
    push "$folder"
  done
  sbom "${FOLDERS[@]}"
}

build_all() { # build in rounds: an image is built when the images of its FROM are built
  local waiting=("${FOLDERS[@]}") ready later folder
  set -m # a process group for each build, so that stopping it stops docker too
  trap stop_builds EXIT
  while ((${#waiting[@]})); do
    ready=() later=()
    for folder in "${waiting[@]}"; do
      if starts_from "$folder" "${waiting[@]}"; then later+=("$folder"); else ready+=("$folder"); fi
    done
    ((${#ready[@]})) || die "these images start from each other: ${waiting[*]}"
    build_round "${ready[@]}" || exit 1
    waiting=("${later[@]}")
  done
  trap - EXIT
}

build_round() { # build_round FOLDER...
  local folder running=0
  for folder; do
    if ((running == AT_ONCE)); then
      wait -n || return 1
      running=$((running - 1))
    fi
    build "$folder" &
    running=$((running + 1))
  done
  for ((; running > 0; running--)); do
    wait -n || return 1
  done
}

starts_from() { # starts_from FOLDER OTHER...: whether its Dockerfile's FROM names the image of one of the others
  local folder=$1 other
  shift
  for other; do
    [[ $other == "$folder" ]] || ! grep -Eq "^FROM .*/$(name_of "$other")[:@ ]" "$(dockerfile "$folder")" || return 0
  done
  return 1
}

stop_builds() {
  local group
  for group in $(jobs -p); do
    kill -TERM -- "-$group" 2>/dev/null || true
  done
}

main "$@"
