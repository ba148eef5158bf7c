"""`python -m skewlab.report`: as `report.py`, where there is no checkout."""

from skewlab import startup  # first: it answers Ctrl-C

# isort: split
import sys

from skewlab.report.cli import main
from skewlab.terminal import make_unfailing

startup.imported()

if __name__ == "__main__":
    make_unfailing()
    sys.exit(main(sys.argv[1:]))
