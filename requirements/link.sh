#!/usr/bin/env bash
# Make the three packages importable from the checkout and put `sluice` on the environment's PATH.
# A path file and a script of two lines: an editable install would need the build back end at run time.
set -euo pipefail
python=$1
site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
root=$(cd "$(dirname "$0")/.." && pwd)
echo "$root" >"$site/sluice.pth"
bin=$(cd "$(dirname "$python")" && pwd)
printf '#!%s/python\nfrom addon.cli.__main__ import main\n\nmain()\n' "$bin" >"$bin/sluice"
chmod +x "$bin/sluice"
