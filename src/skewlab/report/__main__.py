"""`python -m skewlab.report`: as `report.py`, where there is no checkout."""

from skewlab import startup  # first: it answers Ctrl-C

# isort: split
import sys

from skewlab.report.cli import main

if __name__ == "__main__":
    startup.imported()
    sys.exit(main(sys.argv[1:]))
