"""`ray up cluster.yaml` against a simulated EC2: what is asked for, to whom it is open; workers, spot or on demand."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.hosts import ROOT, Host, Hosts, wait_for

AWS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-west-2",
}
# the role that `ray up` finds instead of waiting for AWS to know a new one
ROLE = """
import boto3
iam = boto3.client("iam")
iam.create_instance_profile(InstanceProfileName="ray-autoscaler-v1")
iam.create_role(RoleName="ray-autoscaler-v1", AssumeRolePolicyDocument="{}")
iam.add_role_to_instance_profile(InstanceProfileName="ray-autoscaler-v1", RoleName="ray-autoscaler-v1")
"""
SEEN = """
import boto3, json
ec2 = boto3.client("ec2")
instances = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
print(json.dumps({
    "instances": instances, "groups": ec2.describe_security_groups(GroupNames=["roadmap-tune"])["SecurityGroups"],
}, default=str))
"""
# what the head does when two trials wait, each for a GPU: Ray's scheduler, then the provider; the second time AWS has
# no spot instance
WORKERS = """
import sys, yaml
from botocore.exceptions import ClientError
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.autoscaler.tags import *

config = _bootstrap_config(yaml.safe_load(open("cluster.yaml")), no_config_cache=True)
config.pop("head_node")
known = AutoscalingConfig(config, skip_content_hash=True)
asked = ResourceRequestUtil.group_by_count([ResourceRequestUtil.make({"CPU": 8, "GPU": 1}) for _ in range(6)])
reply = ResourceDemandScheduler().schedule(SchedulingRequest(
    disable_launch_config_check=True, node_type_configs=known.get_node_type_configs(),
    max_num_nodes=known.get_max_num_nodes(), resource_requests=asked))
print("scheduled", {one.instance_type: one.count for one in reply.to_launch})
provider = _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)
tags = {TAG_RAY_NODE_KIND: NODE_KIND_WORKER, TAG_RAY_USER_NODE_TYPE: "gpu", TAG_RAY_NODE_NAME: "worker"}
gpu = known.get_cloud_node_config("gpu")
provider.create_node(gpu, tags, 1)
create = provider.ec2_fail_fast.create_instances

def refuse(**asked):
    if "InstanceMarketOptions" in asked:
        raise ClientError({"Error": {"Code": "InsufficientInstanceCapacity", "Message": "none left"}}, "RunInstances")
    return create(**asked)

provider.ec2_fail_fast.create_instances = refuse
provider.create_node(gpu, tags, 1)
"""


@pytest.fixture
def laptop() -> Iterator[Host]:
    with Hosts(1, prefix="aws", subnet="10.95.0") as hosts:
        hosts[0].start("python", "-m", "moto.server", "-H", "127.0.0.1", "-p", "5000")
        connect = "import socket; socket.create_connection(('127.0.0.1', 5000), 1)"
        wait_for(lambda: hosts[0].run("python", "-c", connect, check=False).returncode == 0, 60, "the simulated EC2")
        hosts[0].run("python", "-c", ROLE, env=AWS)
        yield hosts[0]


def seen(laptop: Host) -> dict[str, list[dict]]:  # type: ignore[type-arg]
    done = laptop.run("python", "-c", SEEN, env=AWS, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"instances": [], "groups": []}


def tags(instance: dict) -> dict[str, str]:  # type: ignore[type-arg]
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def test_instances_are_asked_for_and_only_ssh_is_open(laptop: Host) -> None:
    up = laptop.start("bash", "-c", f"cd {ROOT} && exec ray up -y cluster.yaml", env=AWS, output=laptop.folder / "up")
    wait_for(lambda: seen(laptop)["instances"] or up.poll() is not None, 90, "the head")
    up.kill()  # the simulation has no machine behind its addresses to log in to
    [head] = seen(laptop)["instances"]
    assert head["InstanceType"] == "m6i.xlarge" and "InstanceLifecycle" not in head
    assert head["IamInstanceProfile"]["Arn"].endswith("ray-autoscaler-v1")
    told = tags(head)
    assert (told["ray-cluster-name"], told["ray-node-type"], told["ray-user-node-type"]) == (
        "roadmap-tune",
        "head",
        "head",
    )

    done = laptop.run("bash", "-c", f"cd {ROOT} && python - <<'EOF'\n{WORKERS}\nEOF", env=AWS, timeout=120)
    assert "scheduled {'gpu': 4}" in done.stdout, done.stdout  # of six that are wanted
    found = seen(laptop)
    workers = [one for one in found["instances"] if tags(one)["ray-node-type"] == "worker"]
    assert [one["InstanceType"] for one in workers] == ["g5.2xlarge"] * 2
    assert sorted(one.get("InstanceLifecycle", "on demand") for one in workers) == ["on demand", "spot"]

    [group] = found["groups"]
    for instance in found["instances"]:
        assert [one["GroupId"] for one in instance["SecurityGroups"]] == [group["GroupId"]]
    world = [(rule.get("FromPort"), rule.get("ToPort")) for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert world == [(22, 22)]
    [inside] = [rule for rule in group["IpPermissions"] if not rule["IpRanges"]]
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group["GroupId"]]
    assert not any(rule.get("Ipv6Ranges") for rule in group["IpPermissions"])
