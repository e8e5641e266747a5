"""The examples are programs, not packages: their modules import each other by plain name."""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
sys.path[:0] = [str(EXAMPLES / "shop"), str(EXAMPLES / "traffic")]
