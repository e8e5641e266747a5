"""What this user may not enforce, said out loud wherever apps are about to run."""

from __future__ import annotations

import os

WITHOUT_ROOT = "not root: dynos run without their own uid, limits and network"
ADVICE = "Run `sluice up` as root where apps are not trusted."


def warning() -> str | None:
    """Return what to tell at start; None when everything is enforced that this machine can."""
    return None if os.geteuid() == 0 else f"sluice: warning: {WITHOUT_ROOT}. {ADVICE}"
