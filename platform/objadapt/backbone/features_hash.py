"""Which features a backbone gives: a hash of its weights, and of the normalisation that a tag brings.

A model's name says by which mean and deviation frames are normalised; an open_clip tag may say others. Names count in
configs and in caches.
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
