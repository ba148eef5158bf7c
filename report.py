"""Turn runs into the study's answer: python report.py logs/<study>"""

import sys

from skewlab.report.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
