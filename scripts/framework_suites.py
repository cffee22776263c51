"""The tests that frameworks have for their cache backends, from the command line.

python scripts/framework_suites.py                  fetch them once (needs pip and the registry) and say where they lie
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.integrations import sdists


def main() -> None:
    """Fetch what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    try:
        for name in sdists.PINNED:
            print(sdists.fetched(name))
    except sdists.SdistMissingError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
