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
    # Ray's own record of a sweep, all of it again each time, is never read: the journal is; at the end, `no_record`
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")
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
            logging_level=logging.ERROR,
        )
        _print_nothing()
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
def local_ray(cpus: int | None = None, level: int = logging.ERROR) -> Iterator[None]:
    """A Ray with this machine's cores (or so many `cpus`), gone with its processes and files when the block ends.

    How many trials run at a time is the searcher's: it may change while they run. level: from which Ray logs.

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
        with loopback_alone():
            ray.init(
                num_cpus=cpus or cores(),
                _temp_dir=str(folder / "r"),  # Ray opens its folder to everybody; the one around it stays ours
                include_dashboard=False,
                logging_level=level,
            )
            _print_nothing()
            yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _print_nothing() -> None:
    """What workers print comes to this process, for a sweep's log; Ray itself would put it on the console."""
    from ray._private.ray_logging import global_worker_stdstream_dispatcher

    global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")


@contextlib.contextmanager
def loopback_alone() -> Iterator[None]:
    """Ray replaces 127.0.0.1 by an address of the machine and then listens on all of them, but on a machine that is
    no part of a cluster, by this switch of its own: read when it is imported, and by each process that it starts.
    """
    from ray._private import ray_constants

    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    written = os.environ.get(name)
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(name)
        if written is not None:
            os.environ[name] = written


@contextlib.contextmanager
def no_record() -> Iterator[None]:
    """Inside, Ray Tune's own record of a sweep has no trials: nobody reads it, and it takes some 70 kB of each.

    Ray writes it when a sweep begins and ends, whatever it is told, and wants to find the file: so it writes one, of
    the few values of its own. Where a Ray has no such method any more it writes all of it, as it would without us.
    """
    from ray.tune.execution.tune_controller import TuneController

    name = "_get_trial_checkpoints"
    before = getattr(TuneController, name, None)
    if before is None:
        yield
        return
    setattr(TuneController, name, lambda controller: {})
    try:
        yield
    finally:
        setattr(TuneController, name, before)


def _remove_stale_sessions() -> None:
    """Folders of drivers that were killed before they could tidy up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
