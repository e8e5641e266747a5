#!/usr/bin/env bash
# Install the programs that are not Python packages, or print the one line that would.
#   system.sh run    Java 17+ (Spark), bubblewrap (dynos and SQL workers), git
#   system.sh test   what the tests' foreign clients need besides
set -euo pipefail
want=$1
missing=()

java_ok() {
  local version
  version=$(java -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n1)
  [ -n "$version" ] && [ "$version" -ge 17 ]
}

case $want in
run)
  command -v git >/dev/null || missing+=(git)
  command -v bwrap >/dev/null || missing+=(bubblewrap)
  java_ok || missing+=(openjdk-17-jre-headless)
  ;;
test)
  command -v rsyslogd >/dev/null || missing+=(rsyslog)
  command -v logger >/dev/null || missing+=(bsdutils)
  ;;
*) echo "usage: system.sh run|test" >&2; exit 2 ;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0

line="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "setup: missing: ${missing[*]}. Install them with this system's package manager, then run make again." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
  echo "setup: missing: ${missing[*]}. Run:  sudo sh -c '$line'" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
echo "setup: installing ${missing[*]}"
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -qq &&
       "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "setup: could not install ${missing[*]}. Run by hand:  $line" >&2
  exit 1
fi
rm -f "$log"
