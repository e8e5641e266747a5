"""``python -m tests.fuzz TARGET --seconds N``: fuzz one parser (or ``all``) with atheris, keep what is new.

New inputs go to ``build/fuzz/<target>``; with ``--keep``, those that reach new code go to the corpus in the
repository, smallest first. A finding is written to ``build/fuzz`` and told with its bytes; exit 1.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
_FOUND = ROOT / "build" / "fuzz"
_LONGEST_INPUT = 4096
_KEPT_FILES, _KEPT_BYTES = 60, 1024


def fuzz(target: str, seconds: int) -> int:
    """Fuzz within this process; atheris ends it."""
    import atheris  # noqa: PLC0415 - it instruments what is imported after it

    with atheris.instrument_imports(include=["platform_core", "addon"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - as above

    found = _FOUND / target
    found.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST_INPUT}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={_FOUND}/{target}-",
        str(found),
        str(CORPUS / target),
    ]
    atheris.Setup(arguments, TARGETS[target])
    atheris.Fuzz()
    return 0


def keep(target: str) -> int:
    """Add the smallest new inputs to the corpus; return how many are there now."""
    kept = CORPUS / target
    kept.mkdir(parents=True, exist_ok=True)
    there = {path.name for path in kept.iterdir()}
    room = _KEPT_FILES - len(there)
    new = [path for path in (_FOUND / target).iterdir() if path.stat().st_size <= _KEPT_BYTES]
    for path in sorted(new, key=lambda path: (path.stat().st_size, path.name))[: max(0, room)]:
        shutil.copyfile(path, kept / path.name)
    return len(list(kept.iterdir()))


def sow() -> None:
    """Write the seeds into the corpus."""
    from tests.fuzz.seeds import SEEDS  # noqa: PLC0415 - only here

    for target, seeds in SEEDS.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (CORPUS / target / f"seed-{number}").write_bytes(seed)


def main(argv: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", help="a target's name, all, or sow (write the seeds into the corpus)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add new small inputs to the corpus")
    options = parser.parse_args(argv)
    if options.target == "sow":
        sow()
        return 0
    if options.target != "all":
        return fuzz(options.target, options.seconds)
    failed = []
    for target in sorted(path.name for path in CORPUS.iterdir()):
        command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(options.seconds)]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        runs = [line for line in done.stderr.splitlines() if line.startswith(("Done", "stat::"))]
        kept = f", {keep(target)} kept" if options.keep and done.returncode == 0 else ""
        print(f"{target}: {' '.join(runs) or done.stderr[-1500:]}{kept}", flush=True)  # noqa: T201 - a program
        failed += [target] if done.returncode else []
    print(f"{'failed: ' + ', '.join(failed) if failed else 'no findings'}")  # noqa: T201 - a program
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
