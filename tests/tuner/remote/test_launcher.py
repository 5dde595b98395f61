"""Cluster files of Ray's launcher, as --cluster reads them, and the tunnel's ssh."""

from pathlib import Path

import pytest
import yaml

from trainables.errors import UserError
from tuner.remote.launcher import Cluster


def written(tmp_path: Path, **changes: object) -> Cluster:
    file = tmp_path / "cluster.yaml"
    provider = {"type": "local", "head_ip": "192.0.2.10", "worker_ips": []}
    file.write_text(yaml.safe_dump({"cluster_name": "c", "provider": provider, "auth": {}, **changes}))
    return Cluster.read(str(file))


def test_what_is_no_cluster_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        Cluster.read(str(tmp_path / "none.yaml"))
    for text, said in (("a: [", "cannot be read as YAML"), ("name: sweep", "needs cluster_name and provider")):
        (tmp_path / "other.yaml").write_text(text)
        with pytest.raises(UserError, match=said):
            Cluster.read(str(tmp_path / "other.yaml"))


def test_ssh_as_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cluster = written(tmp_path, auth={"ssh_user": "me", "ssh_private_key": "~/key", "ssh_proxy_command": "nc %h %p"})
    assert cluster.head == "192.0.2.10"
    words = cluster.ssh(cluster.head)
    assert words[0] == "ssh" and words[-1] == "me@192.0.2.10" and "BatchMode=yes" in words
    assert words[words.index("-i") + 1] == str(tmp_path / "key") and "ProxyCommand=nc %h %p" in words
    assert "-i" not in written(tmp_path).ssh("host")
    # of a cloud: the key pair that `ray up` made for the region
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "ray-autoscaler_us-west-2.pem").touch()
    cloud = written(tmp_path, provider={"type": "aws", "region": "us-west-2"}, auth={"ssh_user": "ubuntu"})
    words = cloud.ssh("host")
    assert words[words.index("-i") + 1].endswith("/.ssh/ray-autoscaler_us-west-2.pem")


def test_a_head_that_ssh_does_not_reach_is_told_in_one_line(tmp_path: Path) -> None:
    provider = {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}
    nowhere = {"ssh_user": "me", "ssh_proxy_command": "false"}
    cluster = written(tmp_path, provider=provider, auth=nowhere)
    with pytest.raises(UserError, match=r"no ssh to me@127.0.0.1: ") as error, cluster.tunnel(8265):
        pass
    assert "\n" not in str(error.value)
