#!/usr/bin/env bash
# Installs the Debian packages that the tests need, PostgreSQL and cloud-init, each only where it is
# missing.
set -euo pipefail

say() { echo "install-debian-packages: $*"; }

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

# The same folders as findPostgresBinaries of test/helpers/postgres-server.ts.
find_postgres() {
  local folders folder
  IFS=: read -r -a folders <<<"$PATH"
  folders=("$(pg_config --bindir 2>/dev/null || true)" "${folders[@]}" /usr/lib/postgresql/*/bin)
  for folder in "${folders[@]}"; do
    if [[ -n $folder && -x $folder/initdb && -x $folder/postgres && -x $folder/pg_ctl ]]; then
      echo "$folder"
      return 0
    fi
  done
  return 1
}

missing=()
if folder=$(find_postgres); then
  say "PostgreSQL is here already, in $folder"
else
  missing+=(postgresql)
fi
if folder=$(command -v cloud-init); then
  say "cloud-init is here already, as $folder"
else
  missing+=(cloud-init)
fi
if [[ ${#missing[@]} -eq 0 ]]; then
  say 'nothing to do'
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  say "this system has no apt-get: install ${missing[*]} in its own way" >&2
  exit 1
fi
if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
  say 'installing packages needs root, and there is no sudo: run this as root' >&2
  exit 1
fi

# The package postgresql would make a cluster "main" and start it as a service. The tests start
# servers of their own, so we ask it not to, for the time of this installation and unless the
# machine already says how clusters are made.
if [[ ${missing[*]} == *postgresql* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
  no_cluster=/etc/postgresql-common/createcluster.d/melange-tests.conf
  as_root mkdir -p "${no_cluster%/*}"
  trap 'as_root rm -f "$no_cluster"' EXIT
  as_root tee "$no_cluster" >/dev/null <<<'create_main_cluster = false'
fi
# The package cloud-init would configure this machine at its next start. The tests only ask it to
# convert files, so it is switched off here before it arrives, and stays so.
if [[ ${missing[*]} == *cloud-init* ]]; then
  as_root mkdir -p /etc/cloud
  as_root touch /etc/cloud/cloud-init.disabled
fi

say "installing ${missing[*]}; no service is started"
as_root apt-get update
as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get install --yes --no-install-recommends "${missing[@]}"

folder=$(find_postgres) || {
  say 'the package postgresql was installed, but initdb and postgres were not found' >&2
  exit 1
}
say "PostgreSQL is in $folder"
folder=$(command -v cloud-init) || {
  say 'the package cloud-init was installed, but the program was not found' >&2
  exit 1
}
say "cloud-init is $folder"
