#!/usr/bin/env bash
# Unpack Debian's syslog-ng below the virtual environment, for the tests: as a package it would push rsyslog out.
# Libraries that the machine lacks come with it, unpacked beside it. Nothing is installed; apt checks the hashes.
set -euo pipefail
into=$1/syslog-ng
[ -x "$into/usr/sbin/syslog-ng" ] && exit 0
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "setup: this is no Debian; the tests with syslog-ng need its programs in $into/usr/sbin" >&2
  exit 1
fi
# Debian 12 has libpcre3 here, 13 has libpcre2-8-0, which is there already.
wanted=(syslog-ng-core)
needs=$(apt-cache depends syslog-ng-core)
for name in libivykis0 libivykis0t64 libnet1 libnet1t64 libnet9 libpcre3 libwrap0; do
  dpkg -s "$name" >/dev/null 2>&1 && continue
  grep -q "Depends: $name\$" <<<"$needs" && wanted+=("$name")
done
echo "setup: unpacking syslog-ng (${wanted[*]})"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "${wanted[@]}" >log 2>&1); then
  cat "$work/log" >&2
  echo "setup: could not fetch syslog-ng; run apt-get update as root, then make again" >&2
  exit 1
fi
mkdir -p "$work/root"
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
rm -rf "$into"
mv "$work/root" "$into"
