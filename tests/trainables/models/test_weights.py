"""Weights on disk: found, read, fitted strictly; the surgery on distilled transformers; positions interpolated."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.errors import UserError
from trainables.models import RetrievalNet, weights

State = dict[str, Tensor]


def refused(build: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        build()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def distilled() -> State:
    """A DeiT-S with a distillation token and random weights, biases and positions too."""
    torch.manual_seed(0)
    model = timm.create_model("deit_small_distilled_patch16_224")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def distilled_file(distilled: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As its authors publish it: under "model"."""
    file = tmp_path_factory.mktemp("deit") / "deit_small_distilled_patch16_224-649709d9.pth"
    torch.save({"model": distilled}, file)
    return file


def test_distilled_weights_in_a_plain_transformer(distilled: State, distilled_file: Path) -> None:
    net = RetrievalNet("vit_deit_distilled", without_fc=True, weights=str(distilled_file))
    loaded = net.backbone.state_dict()
    left_out = {"dist_token", "head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    assert set(distilled) - set(loaded) == left_out and set(loaded) <= set(distilled)
    for key in set(loaded) - {"pos_embed"}:
        assert torch.equal(loaded[key], distilled[key]), key
    positions = distilled["pos_embed"]
    assert positions.shape == (1, 198, 384) and loaded["pos_embed"].shape == (1, 197, 384)
    assert torch.equal(loaded["pos_embed"][:, 0], positions[:, 0])
    assert torch.equal(loaded["pos_embed"][:, 1:], positions[:, 2:])


def test_distilled_weights_from_the_hub_are_the_same_surgery(
    distilled: State, distilled_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timm.create_model

    def hub(name: str, pretrained: bool = False, **options: object) -> nn.Module:
        model = real(name, **options)
        if pretrained:
            model.load_state_dict({key: distilled[key] for key in model.state_dict()})
        return model

    monkeypatch.setattr(timm, "create_model", hub)
    from_hub = RetrievalNet("vit_deit_distilled", without_fc=True, pretrained=True).state_dict()
    from_file = RetrievalNet("vit_deit_distilled", without_fc=True, weights=str(distilled_file)).state_dict()
    assert from_hub.keys() == from_file.keys()
    assert all(torch.equal(from_hub[key], from_file[key]) for key in from_hub)


def test_plain_and_distilled_weights_are_not_mixed_up(distilled_file: Path, tmp_path: Path) -> None:
    said = refused(lambda: RetrievalNet("vit_deit", weights=str(distilled_file)))
    assert "does not fit the backbone 'vit_deit': 3 weights unknown (dist_token, " in said
    torch.save(timm.create_model("deit_small_patch16_224").state_dict(), tmp_path / "plain.pth")
    said = refused(lambda: RetrievalNet("vit_deit_distilled", weights=str(tmp_path / "plain.pth")))
    assert "holds no distilled weights" in said


def test_positions_are_interpolated_where_another_size_is_asked_for(distilled: State, distilled_file: Path) -> None:
    net = RetrievalNet("vit_deit_distilled", without_fc=True, weights=str(distilled_file), img_size=96)
    positions = net.backbone.pos_embed
    assert isinstance(positions, Tensor) and positions.shape == (1, 1 + 6 * 6, 384)
    assert torch.equal(positions[:, 0], distilled["pos_embed"][:, 0])
    grid = distilled["pos_embed"][:, 2:].reshape(1, 14, 14, 384).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(grid, (6, 6), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    assert torch.allclose(positions[:, 1:], expected, atol=1e-6)
    assert net(torch.rand(1, 3, 96, 96)).shape == (1, 384)


def test_positions_of_another_size_do_not_fit_unasked(tmp_path: Path) -> None:
    small = timm.create_model("vit_tiny_patch16_224", img_size=96)
    torch.save(small.state_dict(), tmp_path / "small.pth")
    said = refused(lambda: RetrievalNet("vit_tiny_patch16_224", weights=str(tmp_path / "small.pth")))
    assert "pos_embed is (1, 37, 192), not (1, 197, 192)" in said
    RetrievalNet("vit_tiny_patch16_224", weights=str(tmp_path / "small.pth"), img_size=224)
    said = refused(lambda: RetrievalNet("resnet10t", img_size=96))
    assert "img_size" in said


def test_torchvisions_files_fit_with_and_without_batch_counters(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.resnet18().state_dict()
    for value in whole.values():
        if value.is_floating_point():
            value.uniform_(0.1, 1)
    old = {key: value for key, value in whole.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "resnet18-5c106cde.pth")
    for pooling in ("avg", "gem"):
        loaded = RetrievalNet("resnet18", weights=str(tmp_path), pooling=pooling).backbone.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in old.items() if not key.startswith("fc."))
    assert loaded["avgpool.p"] == 3.0


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    file = tmp_path / "resnet18.pth"

    def saying(changed: State) -> str:
        torch.save(changed, file)
        return refused(lambda: RetrievalNet("resnet18", weights=str(file)))

    assert "1 weights missing (conv1.weight)" in saying({key: state[key] for key in state if key != "conv1.weight"})
    assert "1 weights unknown (conv7.weight)" in saying({**state, "conv7.weight": torch.zeros(1)})
    assert "conv1.weight is (2, 2), not (64, 3, 7, 7)" in saying({**state, "conv1.weight": torch.zeros(2, 2)})
    assert "holds no tensors by name" in saying({"epoch": 3})  # type: ignore[dict-item]
    torch.save(state, file)
    deeper = refused(lambda: RetrievalNet("resnet50", weights=str(file)))
    assert "weights missing (layer1.0.conv3.weight, " in deeper and " more)" in deeper


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    file = tmp_path / "saved.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), file)
    return file


@pytest.mark.parametrize(
    ("backbone", "place"),
    [
        ("resnet10t", "resnet10t.safetensors"),
        ("timm/resnet10t", "resnet10t-0a1b2c.safetensors"),
        ("resnet10t", "resnet10t.c3_in1k.safetensors"),
        ("resnet10t", "resnet10t.c3_in1k/model.safetensors"),
        ("resnet10t", "model.safetensors"),
    ],
)
def test_a_folder_holds_the_file_that_is_named_after_the_backbone(tiny_file: Path, backbone: str, place: str) -> None:
    folder = tiny_file.parent / "weights"
    (folder / place).parent.mkdir(parents=True)
    tiny_file.rename(folder / place)
    (folder / "resnet101.pth").write_bytes(b"another model")
    (folder / "resnet10t.txt").write_text("a note")
    (folder / "resnet10tx.pth").write_bytes(b"another model")
    assert RetrievalNet.Settings(backbone, weights=str(folder)).weights_file() == folder / place
    RetrievalNet(backbone, weights=str(folder))


def test_a_folder_that_leaves_a_choice_or_none_is_refused_with_what_is_there(tiny_file: Path) -> None:
    folder = tiny_file.parent / "weights"
    folder.mkdir()
    settings = lambda: RetrievalNet.Settings("resnet10t", weights=str(folder))  # noqa: E731
    assert refused(settings).endswith("no file is named after 'resnet10t'; there: nothing")
    shutil.copy(tiny_file, folder / "resnet50-0676ba61.pth")
    assert refused(settings).endswith("no file is named after 'resnet10t'; there: resnet50-0676ba61.pth")
    for name in ("resnet10t.pth", "resnet10t-1.pth"):
        shutil.copy(tiny_file, folder / name)
    assert "2 files are named after 'resnet10t'; there: resnet10t-1.pth, resnet10t.pth" in refused(settings)


def test_wrapped_states_are_opened_and_files_of_other_kinds_are_not_weights(tmp_path: Path) -> None:
    for key in ("state_dict", "model"):
        torch.save({key: {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "w.pth")
        assert list(weights.read(tmp_path / "w.pth")) == ["a"]
    for content in (b"", b"text"):
        (tmp_path / "w.pth").write_bytes(content)
        assert "cannot be read as weights" in refused(lambda: weights.read(tmp_path / "w.pth"))


def test_a_file_is_read_once_as_long_as_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial's weights are there already for the next trial of the same actor, whatever the first made of them."""
    reads = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda file, **options: reads.append(file) or load(file, **options))
    file = tmp_path / "resnet10t.pth"
    torch.save(timm.create_model("resnet10t", num_classes=0).state_dict(), file)
    nets = []
    for _ in range(2):
        nets.append(RetrievalNet("resnet10t", weights=str(file)))
        published = {key: value.clone() for key, value in nets[-1].state_dict().items()}
        with torch.no_grad():
            for parameter in nets[-1].backbone.parameters():
                parameter.add_(1)
    assert reads == [file]
    assert torch.equal(published["backbone.conv1.0.weight"], load(file)["conv1.0.weight"])
    torch.save({"a": torch.ones(3)}, file)
    assert list(weights.read(file)) == ["a"] and len(reads) == 2


def test_processes_of_a_node_share_the_pages_of_a_file(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2**20)}, tmp_path / "w.pth")
    state = weights.read(tmp_path / "w.pth")
    assert state["a"].sum() == 2**20
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(tmp_path / "w.pth") in maps.read_text()
