"""What tells the features of one backbone from those of another: its weights, and the mean and deviation that frames
are normalised by, where a tag gives others than the model's name does. Names are told apart by configs and caches.
"""

import hashlib
import json

import open_clip

from .encoder import Encoder


def features_hash(encoder: Encoder, library: str) -> str:
    """12 hex digits: those of the weights, and others where an open_clip tag normalises frames in its own way.

    timm's models are normalised by what their name says.
    """
    taken = tuple(encoder.mean), tuple(encoder.std)
    if library != "open_clip" or taken == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD):
        return encoder.weights_hash
    return hashlib.sha256(f"{encoder.weights_hash} {json.dumps(taken)}".encode()).hexdigest()[:12]
