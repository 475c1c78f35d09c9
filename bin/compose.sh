#!/usr/bin/env bash
# compose.sh: run the lab. `bin/compose.sh --help` lists the verbs.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

run_engine "$@"
