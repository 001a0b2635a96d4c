"""Ports for servers that tests start."""

import random
import socket

# below the ports that Linux gives out by itself (32768 and more), and above Ray's own for workers (10002 to 19999),
# so that nobody is given one between the look and the server's start
PORTS = range(20001, 32001)


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on; drawn, since other tests may look at the same time."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as one:
            if port not in found and one.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]
