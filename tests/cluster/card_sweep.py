"""`python -m tests.cluster.card_sweep FILE`: a sweep on this cluster whose GPUs are cards of card.py."""

import os
import sys

import ray

from tests.cluster import card
from tuner import load_sweep, probe, run

if __name__ == "__main__":
    ray.init(
        address="auto",
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": card.install, "env_vars": {card.SEEN: os.environ[card.SEEN]}},
    )
    probe.check_memory = lambda *given, **named: None  # there is no card whose memory a batch could take
    run(load_sweep(sys.argv[1]))
