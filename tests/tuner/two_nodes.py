"""A Ray of two nodes, of which one has no data, and a sweep on it: `python two_nodes.py SWEEP DATA`.

In a process of its own: Ray's nodes and their workers inherit what earlier tests have left in the one of the tests.
Prints, as JSON, what became of the data by node and what was shown meanwhile, what of them where a node's process dies,
the journal's trials and the nodes that were avoided.
"""

import io
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from trainables import console
from trainables.errors import MISPLACED
from tuner import cluster, staging
from tuner.signs import Sparing
from tuner.sweep import Sweep, load_sweep

NOWHERE = "/dev/null/nowhere"  # nothing can be built there, not even by root


def main(file: str, data: str) -> None:
    sweep = load_sweep(file)
    cluster.prepare_environment(sweep)
    # niceness: else workers starve on a busy machine. TMPDIR: where Ray's own test cluster leaves its address
    folder = tempfile.mkdtemp(prefix="rt-")  # short: a socket's path
    os.environ |= {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
    (Path(folder) / "ray").mkdir()
    import ray
    from ray.cluster_utils import Cluster

    with cluster.loopback_alone():
        nodes = Cluster()
        try:
            for root in (data, NOWHERE):
                place = {} if nodes.head_node else {"temp_dir": folder}
                nodes.add_node(num_cpus=2, include_dashboard=False, env_vars={"ROADMAP_TUNE_DATA": root}, **place)
            ray.init(address=nodes.address, log_to_driver=False)
            print(json.dumps(found(sweep)))
        finally:
            ray.shutdown()
            nodes.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def slowly(experiments: Any, told: Any, address: str) -> staging.Staged:
    """Runs on a node: says for three seconds that it works, where it has a place for data."""
    import ray

    if os.environ["ROADMAP_TUNE_DATA"] != NOWHERE:
        ray.get(told.said.remote())  # its process is there
        say = Sparing(lambda sign: told.say.remote(address, sign))
        for done in range(30):
            say("render emoji", done, 60)
            time.sleep(0.1)
    return staging._staged(experiments, told, address)


def dying(experiments: Any, told: Any, address: str) -> staging.Staged:
    """Runs on a node: its process ends where it has none."""
    if os.environ["ROADMAP_TUNE_DATA"] == NOWHERE:
        os._exit(1)
    return staging._staged(experiments, told, address)


def found(sweep: Sweep) -> dict[str, Any]:
    """Both nodes have one address, so they are told apart by their ids here."""
    import ray
    from ray import tune

    from tuner import runner
    from tuner.board import Board
    from tuner.journal import Journal
    from tuner.plan import make_plan
    from tuner.simulation.replay import Recorded, ReplayTrainable

    class Elsewhere(ReplayTrainable):
        """Replays, but where its node has no data."""

        def step(self) -> dict[str, Any]:
            if os.environ["ROADMAP_TUNE_DATA"] != NOWHERE:
                return super().step()
            node = ray.get_runtime_context().get_node_id()
            return {"epoch": 0, "state": MISPLACED, "reason": "data not on this node", "node": node, "reported": [],
                    "done": True}  # fmt: skip

    plan = make_plan(sweep, here=False)
    listed = sorted(ray.nodes(), key=lambda node: node["NodeManagerPort"])
    named = [{**one, "NodeManagerAddress": one["NodeID"]} for one in listed]
    said = io.StringIO()
    with mock.patch.object(ray, "nodes", lambda: named):
        with mock.patch.object(staging, "_staged", slowly), mock.patch.object(console, "SECONDS_BETWEEN_LINES", 0.5):
            states = staging.stage(plan.data, plan.sweep.resources, console.Bars(said))
        with mock.patch.object(staging, "_staged", dying):
            lost = staging.stage(plan.data, plan.sweep.resources, console.Bars(io.StringIO()))
        journal = Journal(sweep.folder)
        journal.open()
        try:
            journal.write("sweep", **runner.header(plan))
            board = Board(sweep, plan.trials, plan.epochs, [], sys.stderr)
            recorded = Recorded("val/map_at_r", (tuple(0.1 * epoch for epoch in range(1, plan.epochs + 1)),), (), 0.3)
            outcome = runner.launch(plan, journal, board, tune.with_parameters(Elsewhere, recorded=recorded))
        finally:
            journal.close()
    events = [json.loads(line) for line in (sweep.folder / "journal.jsonl").read_text().splitlines()]
    return {
        "data": {node: staged.state for node, staged in states.items()},
        "shown": said.getvalue().splitlines(),
        "lost": {node: staged.state for node, staged in lost.items()},
        "state": outcome.state,
        "trials": [trial.state for trial in Journal.read(sweep.folder).trials.values()],
        "avoided": [event["node"] for event in events if event["event"] == "avoid"],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
