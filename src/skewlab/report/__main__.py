"""`python -m skewlab.report`: as `report.py`, where there is no checkout."""

import sys

from skewlab.report.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
