"""Sentences and pictures as CLIP embeddings: of the small CLIP, or of an open_clip model with weights of yours."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from objadapt.backbone.small_clip import FOLDER, MEAN, STD, build_small_clip_model
from objadapt.backbone.weights import hash_tensors, load_exactly, read_weights
from objadapt.data.captions import CONTEXT_LENGTH, VOCABULARY, tokenise
from objadapt.data.transforms import normalise, test_transform
from objadapt.errors import InputError, did_you_mean

SMALL = "small_clip"
BATCH = 64


@dataclass(frozen=True)
class Clip:
    """A whole CLIP, frozen.

    Attributes:
        name: of the model, `small_clip` or open_clip's.
        side: of its pictures, pixels.
        width: of its embeddings.
        tokens: sentences -> token numbers; raises ValueError of a sentence that it cannot take.
        weights_hash: of all its weights.
    """

    name: str
    model: torch.nn.Module
    side: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tokens: Callable[[list[str]], Tensor]
    weights_hash: str

    @torch.inference_mode()
    def sentences(self, texts: list[str]) -> Tensor:
        """Unit vectors [S, E]; ValueError of a sentence that the model cannot take."""
        parts = [self.tokens(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        return normalize(torch.cat([self.model.encode_text(part) for part in parts]), dim=-1).clone()

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Unit vectors [G, E] of pictures uint8 [H, W, 3], each of its own size: the centre crop of the short side."""
        found = []
        for start in range(0, len(pictures), BATCH):
            crops = [test_transform(one[None], self.side)[0] for one in pictures[start : start + BATCH]]
            images = normalise(torch.from_numpy(np.stack(crops)), self.mean, self.std)
            found.append(self.model.encode_image(images))
        return normalize(torch.cat(found), dim=-1).clone()


def load_clip(name: str = SMALL, weights: str | None = None) -> Clip:
    """The small CLIP, or an open_clip model with a file of its weights, read without executing it.

    Raises:
        InputError: unknown model, or weights that are missing or do not fit.
    """
    if name == SMALL:
        if weights:
            raise InputError("--weights: the small CLIP has its own; give --clip NAME of open_clip, or leave it out")
        config = json.loads((FOLDER / "model.json").read_text())
        model = build_small_clip_model(config)
        load_exactly(model, read_weights(FOLDER / "weights.safetensors")[0], str(FOLDER / "weights.safetensors"))
        side, width = config["vision_cfg"]["image_size"], config["embed_dim"]
        return Clip(name, model.eval(), side, width, MEAN, STD, _words, hash_tensors(model.state_dict()))
    import open_clip  # behind objadapt.backbone, which prepares torchvision for it

    if name not in open_clip.list_models():
        near = did_you_mean(name, open_clip.list_models())
        raise InputError(
            f"--clip: open_clip has no model {name}; {near}give {SMALL} or a name of open_clip.list_models()"
        )
    if not weights:
        raise InputError(f"--weights: {name} needs a file of its weights, of the whole CLIP; nothing is downloaded")
    config = open_clip.get_model_config(name)
    if {"hf_tokenizer_name", "hf_model_name"} & config["text_cfg"].keys():
        raise InputError(f"--clip: the text tower of {name} is downloaded by open_clip; give a plain CLIP, as ViT-B-16")
    model = open_clip.create_model(name)
    try:
        load_exactly(model, read_weights(weights)[0], weights)
    except InputError as error:
        raise InputError(str(error).replace("backbone.weights:", "--weights:", 1)) from None
    told, width = open_clip.get_model_preprocess_cfg(model), config["embed_dim"]
    side = told["size"] if isinstance(told["size"], int) else told["size"][0]
    tokenizer = open_clip.get_tokenizer(name)

    def tokens(texts: list[str]) -> Tensor:
        for text in texts:
            if len(tokenizer.encode(text)) + 2 > tokenizer.context_length:
                raise ValueError(
                    f"{text[:40]!r} ...: longer than the {tokenizer.context_length} tokens of {name}; cut it"
                )
        return tokenizer(texts)

    found = hash_tensors(model.state_dict())
    return Clip(name, model.eval(), side, width, told["mean"], told["std"], tokens, found)


def _words(texts: list[str]) -> Tensor:
    """Tokens of the small CLIP, which knows some words of shapes alone: marks and capitals are taken off."""
    known = set(VOCABULARY)
    plain = [re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.lower()) for text in texts]
    for text, words in zip(texts, plain, strict=True):
        if strange := [word for word in words if word not in known]:
            listed = f"the small CLIP's {len(known) - 3} words, those of {FOLDER / 'vocabulary.txt'}"
            raise ValueError(f"{text!r}: {', '.join(dict.fromkeys(strange))}: not among {listed}")
        if not words or len(words) > CONTEXT_LENGTH - 2:
            raise ValueError(f"{text!r}: {len(words)} words; the small CLIP takes 1 to {CONTEXT_LENGTH - 2}")
    return tokenise([" ".join(words) for words in plain])
