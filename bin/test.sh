#!/usr/bin/env bash
# test.sh: run all checks and tests that can run on this machine, and report what did not run.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(tensor-rest tensor-serving-gpu tensor-jupyter .deploy) # those with tests of their own

usage() {
  cat <<'U'
usage: bin/test.sh [--fast | --lab | --lint | --coverage | --chaos | --kubernetes] [PYTEST ARGUMENT...]

Makes the lab's Python environment with the test tools, then runs the linters and every test: the packages' own, those of
the started lab from end to end, of the web page in a browser, and of the README's commands. Tests that are named, as in
bin/test.sh tests/docs, or bin/test.sh @FILE for a file of names, run without the linters.

  --fast        only linters and the packages' own tests: no lab is started
  --lab         only the other tests: the started lab, the browser, the images, the documents
  --lint        only the linters
  --coverage    instead: run the packages' own tests, and list the lines that none of them runs; it fails below
                90 % of all lines (an hour, more before Python 3.12)
  --chaos       instead: inject every fault of docs/reliability.md in its long form, and update its table (about 75
                minutes; faults that mount, or make networks and control groups of their own, need root)
  --kubernetes  instead: test the lab on a Kubernetes cluster of two nodes, started on this machine, and update the
                figures of docs/kubernetes.md (20 minutes, and as much to compile Kubernetes and Argo the first time);
                needs root, Go, and apt-get install containerd containernetworking-plugins docker.io docker-registry
                iptables ipset; LAB_KUBERNETES_CONTEXT names a cluster of yours to use instead (docs/kubernetes.md)
  -h, --help    this text

With LAB_LONG_TESTS=1 in the environment it also runs the long variations: notebooks and the pipeline on both engines,
every combination of Kubernetes components, Docker Swarm.

Tests that need one of these programs are skipped if it is not installed; on Debian or Ubuntu:
apt-get install nginx-light chromium libatomic1 shellcheck wrk slowhttptest; promtool comes with Prometheus
U
}

chaos() {
  local status=0 python=$ROOT/.lab/venv/bin/python
  cd "$ROOT"
  unset LAB_HOME
  (run_engine install --tests)
  "$python" -m tests.chaos all --long || status=$?
  "$python" -m tests.chaos report
  return "$status"
}

coverage() {
  local status=0 python=$ROOT/.lab/venv/bin/python options=()
  cd "$ROOT"
  unset LAB_HOME
  (run_engine install --tests)
  mkdir -p .lab/coverage
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    # sys.monitoring (PEP 669) costs little, and counts lines of code objects, whichever greenlet runs them.
    export COVERAGE_CORE=sysmon
    options=(--concurrency=thread)
  fi
  "$python" -m coverage erase
  "$python" -m coverage run "${options[@]}" -m pytest "${packages[@]}" "$@" || status=$?
  "$python" -m coverage combine --quiet
  "$python" -m coverage report --skip-covered || status=$?
  return "$status"
}

kubernetes() {
  local python=$ROOT/.lab/venv/bin/python
  cd "$ROOT"
  unset LAB_HOME
  (run_engine install --tests)
  export PYTHONPATH=$ROOT/.deploy
  [[ -n ${LAB_KUBERNETES_CONTEXT:-} ]] || "$python" -m tests.kubernetes.cluster
  LAB_LONG_TESTS=1 "$python" -m pytest tests/kubernetes "$@"
  "$python" -m tests.kubernetes.report
}

step() { printf '\n== %s\n' "$*"; }

main() {
  local tests=() lint=lint run_tests=run_tests python=$ROOT/.lab/venv/bin/python tool missing=()
  case ${1:-} in
    -h | --help) usage; exit 0 ;;
    --fast) shift; tests=("${packages[@]}") ;;
    --lab) shift; tests=(tests) lint=: ;;
    --lint) (($# == 1)) || refuse "--lint takes no arguments"; run_tests=: ;;
    --coverage) shift; coverage "$@"; exit ;;
    --chaos) (($# == 1)) || refuse "--chaos takes no arguments"; chaos; exit ;;
    --kubernetes) shift; kubernetes "$@"; exit ;;
  esac
  cd "$ROOT"
  unset LAB_HOME # tests make state folders of their own and share this clone's environment
  (run_engine install --tests)
  for tool in shellcheck chromium nginx promtool wrk slowhttptest; do
    PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || missing+=("$tool")
  done

  if names_tests "$@"; then lint=:; fi
  $lint
  $run_tests "${tests[@]}" "$@"
  ((${#missing[@]} == 0)) || step "not installed, so the tests and linters that need it did not run: ${missing[*]}"
}

names_tests() { # whether one of these arguments of pytest names tests, or a file of names
  local each
  for each; do
    [[ $each != @* && ! -e ${each%%::*} ]] || return 0
  done
  return 1
}

run_tests() {
  step "pytest"
  "$python" -m pytest "$@"
}

lint() {
  step "ruff"
  "$python" -m ruff check .
  "$python" -m ruff format --check .
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    step "mypy"
    "$python" -m mypy
  else # NumPy for Python 3.10 has older type hints, in which `ndarray` is not complete without its type arguments
    step "mypy needs Python 3.11, so types were not checked"
  fi
  step "imports"
  PYTHONPATH=tensor-jupyter:tensor-serving-gpu:tensor-rest:.deploy "$(dirname "$python")/lint-imports" --no-cache
  if [[ " ${missing[*]} " != *" shellcheck "* ]]; then
    step "shellcheck"
    shellcheck --external-sources --source-path=SCRIPTDIR bin/*.sh bin/lab .ci/*
  fi
}

main "$@"
