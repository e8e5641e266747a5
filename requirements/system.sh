#!/usr/bin/env bash
# Install the programs that are not Python packages, or print the one line that would.
# Java 17+ (Spark), bubblewrap (dynos, builds, SQL workers), git; a C compiler (the typing kernel), without which
# Sluice does as well, only slower. With `tests`, also what the tests run against: PostgreSQL, a browser, a syslog
# sender, FUSE and libfiu (failing disks), strace.
set -euo pipefail
for_tests=${1:-}
java_ok() {
  local version
  version=$(java -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n1)
  [ -n "$version" ] && [ "$version" -ge 17 ]
}

# Debian 12 has Java 17, Debian 13 has 21; a machine that has never run `apt-get update` knows of neither.
java_package() {
  local version
  for version in 17 21 25; do
    if apt-cache show "openjdk-$version-jre-headless" >/dev/null 2>&1; then
      echo "openjdk-$version-jre-headless"
      return
    fi
  done
  echo default-jre-headless
}

compiler_ok() {
  printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | "${CC:-cc}" -x c -fsyntax-only - 2>/dev/null
}

find_missing() {
  missing=() helpful=()
  compiler_ok || helpful=(gcc libc6-dev)
  command -v git >/dev/null || missing+=(git)
  command -v bwrap >/dev/null || missing+=(bubblewrap)
  java_ok || missing+=("$(java_package)")
  if [ "$for_tests" = tests ]; then
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    command -v chromium >/dev/null || missing+=(chromium)
    { [ -x /usr/sbin/rsyslogd ] && compgen -G "/usr/lib/*/rsyslog/lmnsd_gtls.so" >/dev/null; } || missing+=(rsyslog rsyslog-gnutls)
    command -v fusermount3 >/dev/null || missing+=(fuse3)
    command -v fiu-run >/dev/null || missing+=(fiu-utils)
    command -v strace >/dev/null || missing+=(strace)
  fi
}

# What is only helpful stops nobody: its lack is told, and by `sluice doctor` too.
stop() {
  echo "setup: $1" >&2
  [ ${#missing[@]} -eq 0 ] && exit 0
  exit 1
}

find_missing
wanted=("${missing[@]}" "${helpful[@]}")
[ ${#wanted[@]} -eq 0 ] && exit 0

line="apt-get update && apt-get install -y --no-install-recommends ${wanted[*]}"
if ! command -v apt-get >/dev/null; then
  stop "missing: ${wanted[*]}. Install them with this system's package manager, then run make again."
fi
if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
  stop "missing: ${wanted[*]}. Run:  sudo sh -c '$line'"
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
log=$(mktemp)
"${as_root[@]}" apt-get update -qq >"$log" 2>&1 || true  # an old list may do; installing says so if not
find_missing
wanted=("${missing[@]}" "${helpful[@]}")
echo "setup: installing ${wanted[*]}"
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >>"$log" 2>&1; then
  tail -n 20 "$log" >&2
  stop "could not install ${wanted[*]}. Run by hand:  $line"
fi
rm -f "$log"
