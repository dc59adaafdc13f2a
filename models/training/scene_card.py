"""The weights of a scene embedder and the card that goes with them: what, how made, how good."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from models.fetch import sha256_of
from models.scene import imagenet_net, imagenet_weights, load_network
from models.training.raft_trainer import save_tensors
from models.training.scene_bank import SceneBank
from models.training.scene_scores import RIVALS, compare
from models.training.scene_scratch import ScratchNet, load_scratch
from models.training.scene_trainer import SceneTrainer, late_features, shippable
from models.training.scene_views import Views
from models.training.train_raft import hardware, log
from utils.files import write_json

WEIGHTS = {"lite0": "scene_embedder.pt", "scratch": "scene_scratch.pt"}  # file by network
NETWORKS = {"lite0": "EfficientNet-Lite0 up to block 10, linear head on masked means and "
                     "deviations after blocks 2, 4, 7, 10; what is not in the file is ImageNet's",
            "scratch": f"six convolutions on {ScratchNet.side} px, linear head on masked means and "
                       "deviations after the last four; from random weights"}
OPTIMISER = "AdamW, clip 1.0, cosine to 0, weights averaged"
OPTIMISERS = {"lite0": f"{OPTIMISER}; batch normalisation keeps ImageNet's statistics",
              "scratch": OPTIMISER}
UNIT = ("per cent of edited views of held-out scenes whose scene is among the first k of the "
        "database: unedited views of all scenes of the kind (video: and of the backdrops), "
        "training scenes included; 95 % intervals bootstrapped over scenes")


def describe(banks: Sequence[SceneBank], views: Views, trainers: dict[str, SceneTrainer],
             network: str) -> dict:
    """The card of the weights, but for figures and checksum."""
    data = {}
    for half, bank in zip(("training", "held-out"), banks, strict=True):
        scenes = sorted({picture.scene for picture in bank.pictures})
        for kind in ("photo", "backdrop", "video"):
            data[f"{half} {kind} scenes"] = sum(scene.startswith(kind) for scene in scenes)
        data[f"{half} person shapes"] = len(bank.masks)
    data |= {"training views": len(views.scenes),
             "views": "made by models/training/scene_pairs.py; a backdrop is a blurred part of a "
                      "photograph; held-out scenes by name or every tenth by a hash of the name"}
    stages = {name: trainer.settings | {"steps": trainer.step, "seconds": round(trainer.seconds)}
              for name, trainer in trainers.items()}
    last = next(reversed(trainers.values())).average
    card = {"network": NETWORKS[network], "parameters": sum(p.numel() for p in last.parameters())}
    if network == "lite0":
        card["ImageNet weights sha256"] = sha256_of(imagenet_weights())
    return card | {
        "data": data,
        "recipe": {"loss": "NT-Xent", "optimiser": OPTIMISERS[network], "stages": stages},
        "hardware": hardware(next(last.parameters()).device), "torch": torch.__version__}


def write_weights(trainers: dict[str, SceneTrainer], chosen: str, test: Views, card: dict,
                  path: Path) -> Path:
    """Write the weights of one stage; compare them, as written, with all others."""
    path.with_suffix(".json").unlink(missing_ok=True)  # that of weights before these
    save_tensors(path, shippable(trainers[chosen]))
    vectors = embeddings(trainers, chosen, test, path)
    figures = compare({name: vector.numpy() for name, vector in vectors.items()}, test.scenes,
                      test.edited)
    write_json(path.with_suffix(".json"),
               card | {"metrics": {"unit": UNIT} | figures, "sha256": sha256_of(path)})
    for kind, methods in figures.items():
        for name, figure in methods.items():
            log(path.parent, kind=kind, method=name, figures=figure)
    return path


def embeddings(trainers: dict[str, SceneTrainer], chosen: str, test: Views, path: Path
               ) -> dict[str, Tensor]:
    """Unit vectors of the test views by method, [V, D], or [V, 2, D] with the mirror image's.

    path: the weights that were written of the `chosen` stage.
    """
    rivals = {name: test.tensors[name] for name in RIVALS}
    rivals |= {name: trainers[name].embeddings(test) for name in trainers if name != chosen}
    if chosen == "scratch":
        written = load_scratch(path)
    else:
        as_it_is = normalize(late_features(imagenet_net(), test), dim=1)
        rivals = {"EfficientNet-Lite0 as it is": as_it_is} | rivals
        written, _ = load_network("efficientnet", path)
    with torch.no_grad():
        own = normalize(written.head(late_features(written, test)), dim=1)
    return rivals | {f"{chosen} (this file)": own}
