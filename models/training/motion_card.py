"""The card that goes with the weights of a motion embedder: what it is and how it was made."""

import torch

from models.motion_embedder import SPANS
from models.motion_resnet import SIDE
from models.training.motion_trainer import MotionTrainer
from models.training.motion_windows import MotionWindows
from models.training.picture_examples import Pictures
from models.training.resnet_trainer import ResNetTrainer
from models.training.train_raft import hardware

EMBEDDERS = ("small", "resnet50")
UNIT = ("AUROC of each fake's best right hypothesis against its best one of another source; shares "
        "in per cent; 95 % intervals bootstrapped over fakes; signature: utils/matching.py, needs "
        "no training. Hypotheses judged are those that the signature found, as in step 5. ")
UNITS = {"small": "principal components: this network before it was trained, where it began with "
                  "these; sum: mean of signature and network",
         "resnet50": "mean angle over frame pairs; signature: of the same pictures, 12 x 12 means; "
                     "right moment nearest: of the frame pairs of the right place"}
NETWORKS = {"small": "linear map of the signature of 12x12 displacements (pixels of the 192 px "
                     "person square) plus a small convolutional network; vectors of frame pairs, "
                     "joined, are compared by the cosine",
            "resnet50": f"torchvision's resnet50 on pictures of {SIDE} px: dx, dy, shortened, and "
                        "the person's mask; pictures are compared by the angle"}
RECIPES = {"small": {"spans judged": list(SPANS), "loss": "InfoNCE and the logistic loss of SigLIP",
                     "edits": "motion_batches.py",
                     "chosen": "pull and steps of the shipped weights on the clips held out from "
                               "them; test sets took no part",
                     "optimiser": "Adam with L2-SP, clip 1.0, cosine to 0, weights averaged"},
           "resnet50": {"loss": "InfoNCE, both ways", "edits": "picture_examples.py",
                        "optimiser": "AdamW, clip 1.0, cosine to 0"}}


def unit_of(embedder: str) -> str:
    """What the figures of a card are."""
    return UNIT + UNITS[embedder]


def describe(trainer: MotionTrainer | ResNetTrainer, embedder: str,
             data: MotionWindows | Pictures, training: MotionWindows | Pictures) -> dict:
    """The card of the weights, but for figures and checksum."""
    used = [e for e in training.examples if embedder != "small" or e.right.any()]
    facts = {"clips": len({example.group for example in used}),
             "fakes with their true place": len(used),
             "fakes held out": len(data.examples) - len(training.examples),
             "examples": "made by models/training/motion_windows.py, DIS flow"}
    if embedder == "small":
        facts["frames"] = sum(len(source.total) for source in training.sources.values())
    net = trainer.average.net if embedder == "small" else trainer.net
    return {"network": NETWORKS[embedder],
            "parameters": sum(p.numel() for p in net.parameters()), "data": facts,
            "recipe": trainer.settings | {"steps": trainer.step} | RECIPES[embedder],
            "seconds": round(trainer.seconds),
            "hardware": hardware(next(net.parameters()).device), "torch": torch.__version__}
