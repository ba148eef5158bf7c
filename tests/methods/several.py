"""Runs several command lines of the real program: python several.py '[["FAULT", STUDY, ...], ...]'

Each gets a process of its own, forked from this one once everything is imported, and what is done
to it is one of `faults/inject.py`: `nothing`, or a signal that kills it. There is no report.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

import inject

if __name__ == "__main__":
    os.chdir(inject.ROOT)
    inject.sources.load({"_target_": "skewlab.data.sources.mnist5k", "data_dir": "data"})
    inject.without_report()
    for fault, study, *arguments in json.loads(sys.argv[1]):
        inject.main([f"{fault}:{study}"], arguments)
