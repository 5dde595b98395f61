"""The cluster files that ship: valid for Ray, explained line by line, open to nobody, one story in all of them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SLURM, KUBERAY = ROOT / "docs" / "cluster" / "sweep.slurm", ROOT / "docs" / "cluster" / "kuberay.yaml"
LAUNCHER = [ROOT / "cluster.yaml", ROOT / "docs" / "cluster" / "local.yaml"]


@pytest.mark.parametrize("file", LAUNCHER, ids=lambda file: file.name)
def test_ray_takes_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(ROOT)
    written = yaml.safe_load(file.read_text())
    validate_config(prepare_config(written))
    for local in written["file_mounts"].values():
        assert local.startswith("~") or Path(local).exists(), local


@pytest.mark.parametrize("file", [*LAUNCHER, KUBERAY], ids=lambda file: file.name)
def test_every_key_of_the_first_level_is_explained(file: Path) -> None:
    lines = file.read_text().splitlines()
    explained = ("apiVersion", "kind", "metadata", "spec") if file == KUBERAY else ("worker_setup_commands",)
    for before, line in zip(["", *lines], lines, strict=False):
        key = re.match(r"([\w-]+):", line)
        if key and key.group(1) not in explained:
            assert before.startswith("#") or line.startswith(("provider", "auth", "available_node_types")), line


@pytest.mark.parametrize("file", LAUNCHER, ids=lambda file: file.name)
def test_what_listens_is_loopback_and_wants_a_token(file: Path) -> None:
    written = yaml.safe_load(file.read_text())
    starts = [*written["head_start_ray_commands"], *written["worker_start_ray_commands"]]
    rays = [line for line in starts if "ray start" in line]
    assert len(rays) == 2 and all("RAY_AUTH_MODE=token" in line for line in rays)
    assert "--dashboard-host=127.0.0.1" in rays[0] and "RAY_health_check_failure_threshold=3" in rays[0]
    [mlflow] = [line for line in starts if "mlflow server" in line]
    assert "--host 127.0.0.1" in mlflow
    assert not any("0.0.0.0" in line for line in starts)
    assert written["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_workers_on_aws_come_by_demand_and_go() -> None:
    written = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    head, gpu = (written["available_node_types"][name] for name in ("head", "gpu"))
    assert head["resources"] == {"CPU": 0} and head["max_workers"] == 0
    assert gpu["min_workers"] == 0 and gpu["max_workers"] == written["max_workers"] > 0
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert written["idle_timeout_minutes"] > 0 and written["provider"]["cache_stopped_nodes"] is False
    assert written["provider"]["module"] == "tuner.remote.spot.SpotFirst"


def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    text = SLURM.read_text()
    assert "--address auto" in text and "RAY_AUTH_MODE=token" in text and "--dashboard-host=127.0.0.1" in text


def test_kuberay_is_a_cluster_with_a_token_and_shared_storage() -> None:
    claim, policy, cluster = yaml.safe_load_all(KUBERAY.read_text())
    spec: dict[str, Any] = cluster["spec"]
    assert (cluster["kind"], claim["kind"], policy["kind"]) == ("RayCluster", "PersistentVolumeClaim", "NetworkPolicy")
    assert spec["authOptions"]["mode"] == "token" and spec["enableInTreeAutoscaling"] is True
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    [workers] = spec["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]
    [scales] = yaml.safe_load(environment(spec["headGroupSpec"])["ROADMAP_TUNE_SCALES_TO"])
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert scales == {"CPU": int(limits["cpu"]), "GPU": int(limits["nvidia.com/gpu"]), "max": workers["maxReplicas"]}
    for group in (spec["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        [volume] = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert all(one["volumeMounts"][0]["name"] == volume["name"] for one in pod["containers"])
        assert environment(group)["ROADMAP_TUNE_STORAGE"] == pod["containers"][0]["volumeMounts"][0]["mountPath"]


def test_they_name_one_ray() -> None:
    launched = [re.search(r"ray\[default,tune\]==([\d.]+)", file.read_text()) for file in LAUNCHER]
    kuberay = re.search(r'rayVersion: "([\d.]+)"', KUBERAY.read_text())
    assert len({found and found.group(1) for found in (*launched, kuberay)}) == 1


def environment(group: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in group["template"]["spec"]["containers"][0]["env"]}
