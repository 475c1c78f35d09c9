#!/usr/bin/env bash
# lock.sh: resolve the requirements.in files into requirements.txt files with exact versions and hashes.
# It resolves the whole lab once (.deploy/requirements.txt), then each folder's own subset of that, so that the images
# and the local engine run the same versions. Run it after changing a requirements.in or versions.env.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { echo "usage: bin/lock.sh [--upgrade]   (needs uv: python3 -m pip install uv)"; }

upgrade=()
case ${1:-} in
  '') ;;
  --upgrade) upgrade=(--upgrade) ;;
  -h | --help) usage; exit 0 ;;
  *) echo "lock.sh: unknown option '$1'" >&2; usage >&2; exit 2 ;;
esac
command -v uv >/dev/null || { echo "lock.sh: uv is not installed: python3 -m pip install uv" >&2; exit 1; }
# shellcheck source=../versions.env
source versions.env

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "tensorflow==$TENSORFLOW_VERSION" "tensorflow-cpu==$TENSORFLOW_VERSION" \
  "tensorflow-serving-api==$TENSORFLOW_VERSION" "tensorboard==${TENSORFLOW_VERSION%.*}.*" >"$work/tensorflow.txt"
# tensorflow-serving-api requires the full tensorflow beside tensorflow-cpu; only machines other than x86-64 install it.
echo "tensorflow==$TENSORFLOW_VERSION; platform_machine != 'x86_64'" >"$work/overrides.txt"
# openapi-python-client, a test tool, requires an older typer than the lab's, but works with the lab's.
echo "typer>=0.29" >>"$work/overrides.txt"

compile() { # compile OUTPUT CONSTRAINTS INPUT...
  local output=$1 constraints=$2
  shift 2
  uv pip compile --quiet --universal --python-version "$PYTHON_MIN" --generate-hashes --no-emit-index-url \
    --no-annotate --no-header "${upgrade[@]}" --constraint "$constraints" --override "$work/overrides.txt" \
    --output-file "$output" "$@"
  sed -i '1i # Written by bin/lock.sh from requirements.in: do not edit.' "$output"
  echo "$output: $(grep -c '==' "$output") packages"
}

inputs=(tensor-*/requirements.in)
services=("${inputs[@]%/requirements.in}")
lab=.deploy/requirements.txt
compile "$lab" "$work/tensorflow.txt" .deploy/requirements.in "${services[@]/%//requirements.in}"
for folder in "${services[@]}" .deploy/kubernetes .deploy/lab_sbom tests; do
  sed 's/ *--hash.*//; s/ *\\$//; /^ *$/d' "$lab" >"$work/lab.txt"
  compile "$folder/requirements.txt" "$work/lab.txt" "$folder/requirements.in"
done
