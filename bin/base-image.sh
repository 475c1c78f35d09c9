#!/usr/bin/env bash
# base-image.sh: make the base image of the lab's images from Debian packages, for machines that cannot pull it.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SUITE=bookworm # its Python is the 3.11 of PYTHON_IMAGE
# usr-is-merged replaces usrmerge, which depends on 45 MB of Perl.
PACKAGES=usr-is-merged,ca-certificates,netbase,tzdata,python3,python3-venv

usage() {
  cat <<U
usage: bin/base-image.sh [--ca-dir DIR] [--force]

Makes $(setting PYTHON_IMAGE) in the local Docker engine: Debian $SUITE with Python and venv, fetched from Debian's
mirror (DEBIAN_MIRROR names another). For machines that cannot reach Docker Hub, or that sit behind a proxy with a
certificate of its own. Does nothing if an image of that name is there already.

  --ca-dir DIR  also trust the *.crt files in DIR, so that pip works in builds behind such a proxy
                (default: /usr/local/share/ca-certificates)
  --force       make it even if an image of that name exists, pulled or made; the old image loses its name
  -h, --help    this text

Run it as root, or as a user with subordinate ids (/etc/subuid; then uidmap is needed too): a root file system holds
files of several users. It needs mmdebstrap: apt-get install mmdebstrap debian-archive-keyring
U
}

main() {
  local ca_dir='' force='' image
  while (($#)); do
    case $1 in
      --ca-dir) (($# > 1)) || refuse "--ca-dir needs a folder"; ca_dir=$2; shift ;;
      --ca-dir=*) ca_dir=${1#*=} ;;
      --force) force=yes ;;
      -h | --help) usage; exit 0 ;;
      *) refuse "unknown option '$1'; the options are --ca-dir DIR, --force, --help" ;;
    esac
    shift
  done
  [[ -z $ca_dir || -d $ca_dir ]] || die "$ca_dir is not a folder; --ca-dir names the one with the *.crt files"
  image=$(setting PYTHON_IMAGE)
  need_docker
  if [[ -z $force ]] && have_image "$image"; then
    echo "$image is there already"
    return
  fi
  command -v mmdebstrap >/dev/null || die "mmdebstrap is not installed: apt-get install mmdebstrap debian-archive-keyring"
  make_image "$image" "${ca_dir:-/usr/local/share/ca-certificates}"
}

make_image() { # make_image REFERENCE CA_DIR
  local work options
  work=$(mktemp -d)
  # shellcheck disable=SC2064 # expand the folder's name now
  trap "rm -rf '$work'" EXIT
  mkdir "$work/certificates"
  collect_certificates "$2" "$work/certificates"
  mapfile -t options < <(debian_options)
  echo "making $1 from Debian $SUITE, with $(find "$work/certificates" -type f | wc -l) CA certificates of this machine ..."
  # Into a file first: an interrupted download in a pipe would leave an incomplete image under the final name.
  mmdebstrap "${options[@]}" --customize-hook="copy-in '$work/certificates' /usr/local/share/ca-certificates" \
    --customize-hook="$(declare -f finish); finish \"\$1\"" \
    "$SUITE" "$work/root.tar" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/log" 2>&1 ||
    die "mmdebstrap failed, its last lines are:"$'\n'"$(tail -n 8 "$work/log")"
  docker import -c 'CMD ["python3"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    -c 'ENV LANG=C.UTF-8' -m "made by bin/base-image.sh" "$work/root.tar" "$1" >/dev/null
  echo "$1 is made: $(docker image inspect --format '{{.Size}}' "$1" | awk '{printf "%.0f MB", $1 / 1e6}')"
}

collect_certificates() { # collect_certificates FROM TO: copy all files that update-ca-certificates would use, readable
  local file
  [[ ! -d $1 ]] || find -L "$1" -name '*.crt' -type f | while read -r file; do
    install -m 644 "$file" "$2/"
  done
}

debian_options() { # print mmdebstrap's options, one per line
  local mode=unshare
  ((EUID == 0)) && mode=root
  printf '%s\n' --quiet --mode=$mode --variant=minbase "--include=$PACKAGES" \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr '--aptopt=Acquire::Languages "none"' \
    --dpkgopt=path-exclude=/usr/share/{man,info,doc,locale}/\* \
    --dpkgopt=path-include=/usr/share/doc/\*/copyright --dpkgopt=path-include=/usr/share/locale/locale.alias
}

finish() { # finish ROOT: make it like the official image; run by mmdebstrap's shell, so no bash here
  chroot "$1" update-ca-certificates
  ln -s ../../bin/python3 "$1/usr/local/bin/python3"
  ln -s python3 "$1/usr/local/bin/python"
  # Without this pip uses its own certificates.
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$1/etc/pip.conf"
  # Packages installed later must start no service and leave no archive behind.
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' >"$1/etc/apt/apt.conf.d/docker-clean"
  # 11 MB that nothing in the images uses: iconv's character sets, and parts of Python for its developers.
  rm -rf "$1"/usr/lib/*/gconv/*.so "$1"/usr/lib/python3.11/lib2to3 "$1"/usr/lib/python3.11/pydoc_data "$1"/usr/lib/python3.11/test
  rm -rf "$1"/var/log/apt "$1"/var/log/*.log "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old
}

main "$@"
