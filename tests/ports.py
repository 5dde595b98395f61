"""Ports for servers that tests start."""

import random
import socket

# Above those of Ray's workers, below those that the system gives whoever asks for any: a server that takes ten seconds
# to start had found another test's Ray on its port.
FIRST, LAST = 20_000, 32_000


def free_port() -> int:
    """One on loopback that nobody listens on."""
    while True:
        port = random.SystemRandom().randint(FIRST, LAST)  # a seeded one would be the same in every worker
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
