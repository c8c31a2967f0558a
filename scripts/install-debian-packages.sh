#!/usr/bin/env bash
# Installs the Debian packages that the tests need, and only what is missing:
#   install-debian-packages.sh [postgresql|cloud-init|keystone|oslo-policy|dhcp]...
# Without a name: all but keystone and dhcp.
set -euo pipefail

say() { echo "install-debian-packages: $*"; }

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

# Files that are there only for the time of an installation.
passing=()
trap 'if ((${#passing[@]})); then as_root rm -f "${passing[@]}"; fi' EXIT

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

# The same programs as hasKeystone of test/helpers/keystone-server.ts.
has_keystone() {
  [[ -x /usr/bin/keystone-manage && -x /usr/bin/uwsgi_python3 ]] &&
    [[ -e /usr/bin/keystone-wsgi-public ]]
}

# Says what the first argument is, where packages cannot be installed.
need_apt() {
  if ! command -v apt-get >/dev/null; then
    say "this system has no apt-get: install $1 in its own way" >&2
    exit 1
  fi
  if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
    say 'installing packages needs root, and there is no sudo: run this as root' >&2
    exit 1
  fi
}

install_packages() {
  say "installing $*; no service is started"
  as_root apt-get update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

install_postgresql() {
  local folder
  if folder=$(find_postgres); then
    say "PostgreSQL is here already, in $folder: nothing to do"
    return
  fi
  need_apt 'PostgreSQL 15 or newer'
  # The package would make a cluster "main" and start it as a service. The tests start servers of
  # their own, so we ask it not to, for the time of this installation and unless the machine already
  # says how clusters are made.
  if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
    no_cluster=/etc/postgresql-common/createcluster.d/melange-tests.conf
    as_root mkdir -p "${no_cluster%/*}"
    passing+=("$no_cluster")
    as_root tee "$no_cluster" >/dev/null <<<'create_main_cluster = false'
  fi

  install_packages postgresql
  folder=$(find_postgres) || {
    say 'the package postgresql was installed, but initdb and postgres were not found' >&2
    exit 1
  }
  say "PostgreSQL is now in $folder"
}

# The package would configure this machine at its next start. The tests only ask it to convert files,
# so it is switched off here before it arrives, and stays so.
install_cloud_init() {
  local program
  if program=$(command -v cloud-init); then
    say "cloud-init is here already, as $program: nothing to do"
    return
  fi
  need_apt 'cloud-init'
  as_root mkdir -p /etc/cloud
  as_root touch /etc/cloud/cloud-init.disabled
  install_packages cloud-init
  program=$(command -v cloud-init) || {
    say 'the package cloud-init was installed, but the program was not found' >&2
    exit 1
  }
  say "cloud-init is $program"
}

# These packages hold programs only: the package keystone, which would run them as a service, is
# not among them.
install_keystone() {
  if has_keystone; then
    say 'Keystone is here already: nothing to do'
    return
  fi
  need_apt 'Keystone and uWSGI'
  install_packages python3-keystone uwsgi-core uwsgi-plugin-python3
  has_keystone || {
    say 'the packages of Keystone were installed, but its programs were not found' >&2
    exit 1
  }
  say 'Keystone is now in /usr/bin'
}

# The same question as that of test/system/oslo-policy.test.ts.
has_oslo_policy() { /usr/bin/python3 -c 'import oslo_policy.shell' 2>/dev/null; }

install_oslo_policy() {
  if has_oslo_policy; then
    say 'oslo.policy is here already: nothing to do'
    return
  fi
  need_apt 'oslo.policy for /usr/bin/python3'
  install_packages python3-oslo.policy
  has_oslo_policy || {
    say 'the package python3-oslo.policy was installed, but Python does not find it' >&2
    exit 1
  }
  say 'oslo.policy is now in /usr/lib/python3'
}

# The servers that drivers feed, clients and relays that are real, and what looks at packets. The same
# programs as missingForLabs of test/helpers/netlab.ts.
dhcp_programs=(dnsmasq kea-dhcp4 kea-dhcp6 kea-admin perfdhcp dhclient dhcrelay udhcpc dhcpcd tshark
  tcpdump ip gcc)
dhcp_packages=(dnsmasq-base kea-dhcp4-server kea-dhcp6-server kea-admin kea-common isc-dhcp-client
  isc-dhcp-relay udhcpc dhcpcd-base tshark tcpdump iproute2 gcc libc6-dev)
dhcp_services=(kea-dhcp4-server kea-dhcp6-server isc-dhcp-relay)

missing_dhcp_programs() {
  local program
  for program in "${dhcp_programs[@]}"; do
    [[ -n $(PATH=$PATH:/usr/sbin:/sbin type -P "$program") ]] || echo "$program"
  done
}

# Answers nobody on this machine: what the packages would run as services is masked before it
# arrives, and stays so, and nothing is started while they are installed.
install_dhcp() {
  local missing service unit
  missing=$(missing_dhcp_programs)
  if [[ -z $missing ]]; then
    say 'servers, clients and relays of DHCP are here already: nothing to do'
    return
  fi
  need_apt "${missing//$'\n'/, }"
  for service in "${dhcp_services[@]}"; do
    unit=/etc/systemd/system/$service.service
    # Who runs one of them already goes on doing so.
    if ! dpkg-query --status "$service" >/dev/null 2>&1 && [[ ! -e $unit && ! -L $unit ]]; then
      as_root mkdir -p "${unit%/*}"
      as_root ln -s /dev/null "$unit"
    fi
  done
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    passing+=(/usr/sbin/policy-rc.d)
    as_root tee /usr/sbin/policy-rc.d >/dev/null <<<$'#!/bin/sh\nexit 101'
    as_root chmod 755 /usr/sbin/policy-rc.d
  fi

  install_packages "${dhcp_packages[@]}"
  missing=$(missing_dhcp_programs)
  if [[ -n $missing ]]; then
    say "packages were installed, but these programs were not found: ${missing//$'\n'/, }" >&2
    exit 1
  fi
  say 'servers, clients and relays of DHCP are now here'
}

(($# > 0)) || set -- postgresql cloud-init oslo-policy
for name in "$@"; do
  case $name in
    postgresql) install_postgresql ;;
    cloud-init) install_cloud_init ;;
    keystone) install_keystone ;;
    oslo-policy) install_oslo_policy ;;
    dhcp) install_dhcp ;;
    *)
      say "there is no set of packages called $name" >&2
      exit 2
      ;;
  esac
done
