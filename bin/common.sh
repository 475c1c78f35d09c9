# common.sh: what the scripts in bin/ share. Sourced, never run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { # die MESSAGE...: one line to stderr, exit 1
  echo "${0##*/}: $*" >&2
  exit 1
}

refuse() { # refuse MESSAGE...: report wrong usage; exit 2
  echo "${0##*/}: $*" >&2
  exit 2
}

version_of() { # version_of NAME: print its value in versions.env
  sed -n "s/^$1=//p" "$ROOT/versions.env"
}

setting() { # setting NAME: print the environment variable, or its value in versions.env
  local value=${!1:-}
  echo "${value:-$(version_of "$1")}"
}

need_docker() { # exit with the reason unless a Docker engine answers
  local said
  command -v docker >/dev/null || die "docker is not installed; on Debian or Ubuntu: apt-get install docker.io"
  said=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) && return
  die "no Docker engine answers (${said##*$'\n'}); start it: systemctl start docker, or dockerd. If it runs, this user may lack permission (group docker)"
}

engine_answers() { docker version >/dev/null 2>&1; }

state_folder() { # state_folder NAME: make .lab/NAME and print it; only its user can access .lab, as the engine makes it
  [[ -d $ROOT/.lab ]] || mkdir -m 700 "$ROOT/.lab"
  mkdir -p "$ROOT/.lab/$1"
  echo "$ROOT/.lab/$1"
}

have_image() { # have_image REFERENCE: whether the Docker engine has it
  docker image inspect "$1" >/dev/null 2>&1
}

wait_until() { # wait_until SECONDS COMMAND...: poll ten times a second; fails when the time is over
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS <= end)) || return 1
    sleep 0.1
  done
}

find_python() { # print the first Python on the PATH of a version that the pinned wheels exist for
  local min max found=() python version
  min=$(version_of PYTHON_MIN) max=$(version_of PYTHON_MAX)
  for python in python3 python3.11 python3.12 python3.13 python3.10; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    found+=("$python is $version")
    ((${version%.*} == 3 && ${version#*.} >= ${min#*.} && ${version#*.} <= ${max#*.})) && command -v "$python" && return
  done
  die "the lab needs Python $min to $max on the PATH (found: ${found[*]:-none}); on Debian or Ubuntu: apt-get install python3 python3-venv"
}

run_module() { # run_module MODULE ARGUMENT...: replace this shell by a Python module of .deploy/
  local python
  python=$(find_python)
  PYTHONPATH=$ROOT/.deploy exec "$python" -B -m "$@"
}

run_engine() { run_module lab_engine "$@"; }
