"""Every hot path beside its peers, in the same run: `python -m benchmarks`, or `make bench`."""

import os

# Before torch is imported: a thread that waits for another one sleeps. Spinning, the default, would count as work in
# every way's CPU time, and more so the busier the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
