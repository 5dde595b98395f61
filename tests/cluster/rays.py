"""Ray on hosts, as its own command starts it: a head, workers, token authentication, health checks of seconds."""

from tests.cluster.hosts import Host

PORT = 6379
OBJECT_STORE = 100_000_000  # bytes; trials pass no objects, and every host has the machine's one memory
# a silent host is given up after some 15 s, not after 63 s as by Ray; sooner, busy ones would be too
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
}


def start_head(host: Host, *, cpus: int, gpus: int = 0, dashboard: bool = False, options: tuple[str, ...] = ()) -> str:
    """Its address. dashboard: `ray job submit` needs it; it listens on the host's loopback alone."""
    shown = ("--dashboard-host=127.0.0.1",) if dashboard else ("--include-dashboard=false",)
    _start(host, "--head", f"--port={PORT}", *shown, *options, cpus=cpus, gpus=gpus)
    return f"{host.address}:{PORT}"


def start_worker(host: Host, head: str, *, cpus: int, gpus: int = 0, options: tuple[str, ...] = ()) -> None:
    _start(host, f"--address={head}", *options, cpus=cpus, gpus=gpus)


def _start(host: Host, *options: str, cpus: int, gpus: int) -> None:
    """`gpus` need not exist: Ray counts them, and tells a worker which ones are its own."""
    host.run(
        "ray",
        "start",
        f"--node-ip-address={host.address}",
        f"--num-cpus={cpus}",
        f"--num-gpus={gpus}",
        f"--object-store-memory={OBJECT_STORE}",
        "--disable-usage-stats",
        *options,
        env={**HEALTH, "RAY_raylet_start_wait_time_s": "120"},  # the hosts share few cores
        timeout=150,
    )
