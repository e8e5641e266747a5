"""What to type while the demo goes on running: lines that work when pasted, for each way in."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_KEY = 'import json, sys; print(json.load(sys.stdin)["TREASURE_DATA_API_KEY"])'
_TD = (
    "import os, tdclient; c = tdclient.Client(os.environ['TD_API_KEY'], os.environ['TD_API_SERVER']); "
    "print([d.name for d in c.databases()])"
)


def instructions(home: Path, app: str, host: str, command: str, python: str) -> str:
    """Return the recipe as shell lines with comments.

    Args:
        home: the home folder that runs.
        app: the demo's app.
        host: the app's host name.
        command: how ``sluice`` is called here.
        python: the interpreter to call.
    """
    sluice, py = shlex.quote(command), shlex.quote(python)
    config = f'"$SLUICE_PLATFORM_URL/apps/{app}/config-vars"'
    accept = "-H 'Accept: application/vnd.heroku+json; version=3'"
    bearer = '-H "Authorization: Bearer $SLUICE_PLATFORM_TOKEN"'
    return f"""
# Every client finds this installation by its environment:
eval "$({sluice} env --home {shlex.quote(str(home))})"

# The shop, through the router:
curl -s -o /dev/null -w '%{{http_code}}\\n' -H 'Host: {host}' "$SLUICE_ROUTER_URL/"

# The platform, with the heroku CLI:
heroku ps --app {app}
heroku addons --app {app}
heroku logs --app {app} --num 5

# The add-on, with the app's own key:
export TD_API_KEY="$(curl -s {bearer} {accept} {config} | {py} -c {shlex.quote(_KEY)})"
{sluice} query -d {app} 'SELECT event, COUNT(*) AS n FROM events GROUP BY event ORDER BY n DESC'
curl -s -H "Authorization: TD1 $TD_API_KEY" "$TD_API_SERVER/v3/table/list/{app}"
python -c {shlex.quote(_TD)}  # with td-client installed
"""  # noqa: S608  # shell lines with one constant query in them
