#!/usr/bin/env bash
# Make a virtual environment, also where Debian ships Python without ensurepip.
set -euo pipefail
python=$1 venv=$2
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup: Sluice needs Python 3.11 or newer; $("$python" -V 2>&1) is not. Run: make PYTHON=python3.11 …" >&2
  exit 1
fi
rm -rf "$venv"
if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
  rm -rf "$venv"
  "$python" -m venv --without-pip "$venv"
  "$python" -m pip --python "$venv/bin/python" install -q pip ||
    { echo "setup: pip is missing. Run: apt-get install python3-pip" >&2; exit 1; }
fi
