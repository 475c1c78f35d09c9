#!/usr/bin/env bash
# kube.sh: run the lab on a Kubernetes cluster. `bin/kube.sh --help` lists the verbs.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

run_module lab_engine.kubernetes "$@"
