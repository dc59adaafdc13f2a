"""Freed memory goes back."""

import subprocess
import sys

import pytest

from project import ROOT

CODE = """
import numpy as np
from utils.memory import give_back

def used():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

made = [np.ones(100_000, np.uint8) for _ in range(3000)]  # too small to be mapped one by one
last = np.ones(100_000, np.uint8)  # keeps the heap's end
full = used()
del made
before = used()
give_back()
print(full, before, used())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and asks glibc")
def test_freed_memory_goes_back_to_the_system():
    found = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    full, before, after = map(int, found.stdout.split())
    assert after < full - 200 and after <= before
