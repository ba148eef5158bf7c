"""Turn runs into the study's answer: python report.py logs/<study>"""

import sys

if __name__ == "__main__":
    try:
        from skewlab.report.cli import main

        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
