#!/usr/bin/env bash
# registry.sh: run a private image registry on this machine's loopback address. `bin/registry.sh --help` has details.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

REGISTRY=$(setting LAB_REGISTRY)
STATE=$ROOT/.lab/registry
CONTAINER=lab-registry
IMAGE=registry:2

usage() {
  cat <<U
usage: bin/registry.sh up|down|status

up      starts a registry at $REGISTRY (LAB_REGISTRY names another port) and waits until it answers. Runs the image
        $IMAGE if the engine has it; else the program docker-registry (Debian's package) if that is installed; else
        pulls the image and runs it
down    stops it; the images in it stay, in $STATE
status  shows whether it runs and which images it holds; exit code 1 if it does not run

It listens on 127.0.0.1 only and has no login.
U
}

main() {
  case ${1:-} in
    -h | --help) usage; exit 0 ;;
    up | down | status) (($# == 1)) || refuse "unknown option '$2'; $1 takes none" ;;
    '') refuse "a command is missing; they are up, down, status" ;;
    *) refuse "unknown command '$1'; the commands are up, down, status" ;;
  esac
  [[ $REGISTRY =~ ^(localhost|127\.0\.0\.1):([0-9]+)$ ]] ||
    die "LAB_REGISTRY is '$REGISTRY'; expected localhost:PORT: this script only starts a registry on this machine"
  PORT=${BASH_REMATCH[2]}
  PYTHON=$(find_python)
  "$1"
}

up() {
  local said
  if answers; then
    echo "the registry at $REGISTRY is up already$(ours || echo ", not started by this clone")"
    return
  fi
  said=$(check_port 2>&1) || die "$said"
  state_folder registry/data >/dev/null
  if engine_answers && have_image "$IMAGE"; then
    start_container
  elif command -v docker-registry >/dev/null; then
    start_process
  elif engine_answers && timeout 120 docker pull --quiet "$IMAGE" >/dev/null 2>&1; then
    start_container
  else
    die "$IMAGE cannot be pulled, and docker-registry is not installed: apt-get install docker-registry"
  fi
  wait_for_it
  echo "the registry at $REGISTRY is up; its images are in $STATE"
}

down() {
  local pid
  if engine_answers && [[ -n $(own_container --all) ]]; then
    docker rm --force "$CONTAINER-$PORT" >/dev/null
  fi
  if pid=$(running_process); then
    kill -TERM "$pid"
    wait_until 10 gone "$pid" || kill -KILL "$pid"
  fi
  rm -f "$(pid_file)"
  echo "no registry of this clone runs at $REGISTRY"
}

status() {
  answers || die "no registry answers at $REGISTRY; bin/registry.sh up starts one"
  echo "the registry at $REGISTRY answers: $(get /v2/_catalog)"
}

start_container() {
  docker run --detach --name "$CONTAINER-$PORT" --restart unless-stopped --publish "127.0.0.1:$PORT:5000" \
    --user "$(id -u):$(id -g)" --read-only --cap-drop ALL --security-opt no-new-privileges \
    --volume "$STATE/data:/var/lib/registry" --env REGISTRY_STORAGE_DELETE_ENABLED=true "$IMAGE" >/dev/null
}

start_process() { # Debian's own configuration listens on all addresses
  local config=$STATE/config-$PORT.yml
  cat >"$config" <<Y
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: '${STATE//\'/\'\'}/data'}
  delete: {enabled: true}
http: {addr: '127.0.0.1:$PORT'}
Y
  setsid docker-registry serve "$config" >"$STATE/log-$PORT" 2>&1 </dev/null &
  echo "$!" >"$(pid_file)"
}

wait_for_it() {
  wait_until 30 answers && return
  die "the registry at $REGISTRY does not answer; its last lines are:"$'\n'"$(last_lines)"
}

last_lines() {
  if running_process >/dev/null || [[ -s $STATE/log-$PORT ]]; then
    tail -n 5 "$STATE/log-$PORT"
  else
    docker logs --tail 5 "$CONTAINER-$PORT" 2>&1
  fi
}

pid_file() { echo "$STATE/pid-$PORT"; }

running_process() { # print the registry process of this clone on this port
  local pid
  pid=$(cat "$(pid_file)" 2>/dev/null) || return
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -Fxq "$STATE/config-$PORT.yml" && echo "$pid"
}

own_container() { # print the id of this clone's container on this port; another clone's has another folder
  docker ps --quiet "$@" --filter "name=^$CONTAINER-$PORT$" --filter "volume=$STATE/data" 2>/dev/null
}

ours() { running_process >/dev/null || [[ -n $(own_container) ]]; }

gone() { ! kill -0 "$1" 2>/dev/null; }

answers() { get /v2/ >/dev/null 2>&1; }

get() { # get PATH: print the registry's response; fails if the server is not a registry
  "$PYTHON" -I -c 'import sys, urllib.request as u
answer = u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=5)
sys.exit("not a registry") if "Docker-Distribution-Api-Version" not in answer.headers else print(answer.read().decode().strip())' \
    "http://127.0.0.1:$PORT$1"
}

check_port() {
  PYTHONPATH=$ROOT/.deploy "$PYTHON" -B -c 'import sys; from lab_engine import ports
port = int(sys.argv[1])
ports.is_free(port) or sys.exit(f"port {port} is taken by {ports.holder(port)}: stop that, or choose another one with "
                                f"LAB_REGISTRY=localhost:{ports.next_free(port)}")' "$PORT"
}

main "$@"
