#!/usr/bin/env bash
# compose.sh: run the lab. `bin/compose.sh --help` lists the verbs.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

main() {
  local engine=auto arguments=()
  while (($#)); do
    case $1 in
      --engine) engine=${2:-}; shift ;;
      --engine=*) engine=${1#*=} ;;
      exec) arguments+=("$@"); break ;; # what follows belongs to the command
      *) arguments+=("$1") ;;
    esac
    shift || refuse "--engine needs a value: auto, docker or local"
  done
  case $engine in
    auto | local) run_local_engine "${arguments[@]}" ;;
    docker) die "this release runs the lab as local processes; its Docker engine is not there yet (use --engine local)" ;;
    *) refuse "unknown engine '$engine': it is auto, docker or local" ;;
  esac
}

main "$@"
