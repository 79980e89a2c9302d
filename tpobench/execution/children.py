"""How this program starts a child of its own, and how it names the signal that ended one."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path


def boot(module: str) -> str:
    """The script of a child that runs `main()` of a module, with the parent's places to import from."""
    return f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"


def child_command(script: str) -> list[str]:
    """The words that start a child: it imports what its parent would, whatever the working directory holds."""
    return [sys.executable, "-P", "-X", "utf8", "-c", script, json.dumps([str(Path(p).absolute()) for p in sys.path])]


def signal_name(number: int) -> str:
    """`SIGKILL`, or the number of one that has no name here."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
