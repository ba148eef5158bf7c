"""A process that reads much is quick to start and to end, and loses nothing by it."""

import os
import subprocess
import sys

ENDS = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from skewlab.launch.process import end_process, read_module

read_module("skewlab.training.run")
import gc
assert gc.isenabled() and gc.get_freeze_count() > 100_000

class Last:
    def __del__(self):
        print("taken apart")

kept = Last()
atexit.register(lambda: (time.sleep(0.2), print("at exit")))
pool = ThreadPoolExecutor(1)
pool.submit(lambda: (time.sleep(0.2), print("pool")))
threading.Thread(target=lambda: (time.sleep(0.4), print("thread"))).start()
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
sys.stdout.write("main\\n")
sys.stderr.write("said")
end_process(7)
"""


def test_a_process_ends_with_all_that_it_had_to_do_but_is_not_taken_apart() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=60)
    assert ended.stdout.split("\n") == ["main", "pool", "thread", "at exit", ""]
    assert ended.stderr == "said"
    assert ended.returncode == 7


def test_nobody_who_reads_on_is_no_error() -> None:
    """As with `python train.py --help | head -1`."""
    program = "from skewlab.launch.process import end_process; print('help'); end_process(3)"
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=buffered
    ) as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(60) == 3


def test_a_module_that_cannot_be_read_leaves_collecting_as_it_was() -> None:
    program = """
import gc
from skewlab.launch.process import read_module
for enabled in (True, False):
    (gc.enable if enabled else gc.disable)()
    try:
        read_module("skewlab.nowhere")
    except ModuleNotFoundError:
        print(gc.isenabled())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout.split() == ["True", "False"], ended.stderr
