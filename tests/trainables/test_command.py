"""`roadmap-train` as a user meets it: output, exit codes, files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.__main__ import main


def test_trains_resumes_and_keeps_what_is_there(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"experience.log_dir={tmp_path}", "experience.experiment_name=one", "experience.save_model=1"]
    assert main([*tiny, *places]) == 0
    weights = tmp_path / "one" / "weights"
    assert {path.name for path in weights.iterdir()} == {"last.ckpt", "best.ckpt", "epoch_0001.ckpt", "epoch_0002.ckpt"}
    said = capsys.readouterr().err
    assert "epoch 2/2" in said and "best epoch" in said
    assert main([*tiny, *places]) == 2
    assert "maybe_resume=true" in capsys.readouterr().err
    assert main([*tiny, *places, "experience.max_iter=3", "experience.maybe_resume=true"]) == 0
    reports = [json.loads(line) for line in (tmp_path / "one" / "reports.jsonl").read_text().splitlines()]
    assert [report["epoch"] for report in reports] == [1, 2, 3]


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loss.SupApp.tau=1", f"experience.log_dir={tmp_path}/x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("roadmap-train: ") and said.count("\n") == 1 and "did you mean 'SupAP'" in said
    assert not (tmp_path / "x").exists()


def test_a_divergence_is_one_line_and_exit_code_1(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*tiny, "optimizer.fc.lr=1e30", "optimizer.backbone.lr=1e30", f"experience.log_dir={tmp_path}"]) == 1
    assert "diverged" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["trainables", "tuner"])
def test_help_imports_nothing_heavy(command: str) -> None:
    script = (
        f"import sys, runpy\nsys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{command}', run_name='__main__')\nexcept SystemExit: pass\n"
        f"heavy = {{'torch', 'ray', 'mlflow', 'timm', 'hydra', 'pandas', 'optuna'}} & set(sys.modules)\n"
        f"assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, env=os.environ)
