"""The Ray that a sweep runs on: one of its own on loopback that begins and ends with it, or a cluster that is there."""

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from trainables.errors import UserError
from tuner.sweep import Sweep

HERE = "auto"  # --address: the cluster that this machine is a node of
FOLDER = "rt"  # prefix of the session folders; short, since a socket's path has room for about 100 characters


def prepare_environment(sweep: Sweep) -> None:
    """What Ray and its workers read from the environment; Ray reads some of it when it is imported."""
    os.environ.update(_of_workers(sweep))
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # a trial that diverged reports no metric, and the sweep goes on
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    # as many as the searcher gives: it keeps budget.concurrent, which may change
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000")
    # Ray has all cores, a sweep may use few of them
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    # runner.Interruption listens instead
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    # every epoch is checkpointed on purpose
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    if "ray" not in sys.modules:
        # a token of this sweep's own, in no file: others on the machine cannot submit to it
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = uuid.uuid4().hex


def _of_workers(sweep: Sweep) -> dict[str, str]:
    return {
        # threads that wait must not spin: trials share the cores
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(sweep.resources.cpu),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": os.environ.get("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),
    }


@contextlib.contextmanager
def joined(sweep: Sweep, address: str | None) -> Iterator[None]:
    """Inside, Ray is the cluster that this machine is a node of; what the launch started there ends with the block.

    address: HERE; None: nothing is joined. UserError where no cluster runs here.
    """
    if address is None:
        yield
        return
    import ray

    try:
        ray.init(
            address=HERE,
            runtime_env={"env_vars": _of_workers(sweep)},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError:
        raise UserError(f"--address {HERE}: this machine is no node of a Ray cluster that runs") from None
    except ray.exceptions.AuthenticationError:
        raise UserError(
            f"--address {HERE}: RAY_AUTH_MODE or the token in ~/.ray/auth_token is not the cluster's"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def is_joined() -> bool:
    """Whether this process is connected to a Ray that it did not start for a sweep, by `joined` or by its caller."""
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """A Ray with this machine's cores, gone with its processes and files when the block ends.

    How many trials run at a time is the searcher's: it may change while they run.

    A Ray that the caller has connected to already is used as it is, and left as it was.
    """
    import ray

    from trainables.data.loading import cores

    if ray.is_initialized():
        yield
        return
    _remove_stale_sessions()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}-{os.getpid()}-"))
    try:
        ray.init(
            num_cpus=cores(),
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale_sessions() -> None:
    """Folders of drivers that were killed before they could tidy up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
