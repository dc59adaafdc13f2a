"""Step 5 with the ResNet-50 of the original setting."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from models.fetch import ModelFileError
from models.motion_resnet import build_resnet
from project import SCRIPT, SHORT, TRUTH, again, traces
from utils.files import InputError


def test_angles_are_told_and_decide_nothing(own_copy):
    for other in {*TRUTH, *SHORT} - {SCRIPT}:  # the network takes its time
        shutil.rmtree(own_copy / "step3_fake_frames" / Path(other).with_suffix(""))
    before = traces(own_copy)[SCRIPT]
    torch.manual_seed(0)
    torch.save(build_resnet(8).state_dict(), own_copy / "resnet50.pt")
    options = {"motion_embedder": "resnet50", "model_path": own_copy / "resnet50.pt"}
    assert again(5, **options)[5].done
    assert traces(own_copy) == {SCRIPT: before}
    told = 0
    for path in (own_copy / "step5_flow_trace/fakes").rglob("*.json"):
        result = json.loads(path.read_text("utf-8"))
        assert result["made_with"]["motion_embedder"].startswith("resnet50 motion embedder")
        angles = [place["motion_angle_rad"] for stretch in result["stretches"]
                  for place in stretch["alternatives"]]
        assert all(0 <= angle <= 3.15 for angle in angles)
        told += len(angles)
    assert told > 3
    assert not again(5, **options)[5].done


def test_the_two_options_belong_together(own_copy):
    with pytest.raises(InputError, match="--model-path"):
        again(5, motion_embedder="resnet50")
    (own_copy / "resnet50.pt").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="resnet50.pt"):
        again(5, motion_embedder="resnet50", model_path=own_copy / "resnet50.pt")
