"""Turn runs into the study's answer: python report.py logs/<study>"""

from skewlab import startup  # first: it answers Ctrl-C

# isort: split
import sys

from skewlab.report.cli import main

if __name__ == "__main__":
    startup.imported()
    sys.exit(main(sys.argv[1:]))
