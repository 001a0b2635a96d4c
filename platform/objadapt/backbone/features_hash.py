"""What tells the features of one backbone from those of another: its weights, the mean and deviation that frames are
normalised by, and its activation. A file of weights says nothing of the last three; name and tag of the model do.
"""

import hashlib
import json

import open_clip
import timm.data

from .encoder import Encoder

# for each library what counts for nothing: mean, deviation, activation
USUAL = {
    "open_clip": (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, "QuickGELU"),
    "timm": (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD, "GELU"),
}


def features_hash(encoder: Encoder, library: str) -> str:
    """12 hex digits: those of the weights, and others where frames or activations are not taken as usual."""
    named = (type(module).__name__ for module in encoder.model.modules())
    activation = next((name for name in named if name.endswith("GELU")), "other")
    taken = (tuple(encoder.mean), tuple(encoder.std), activation)
    if taken == USUAL[library]:
        return encoder.weights_hash
    return hashlib.sha256(f"{encoder.weights_hash} {json.dumps(taken)}".encode()).hexdigest()[:12]
