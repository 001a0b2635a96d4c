"""Questions to clip vectors: nearest neighbours, and what a linear classifier reads of motion, scene and colours."""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from objadapt.data.toy import SPLITS, Options, clip_scene
from objadapt.data.toy_scenes import PAIRS, PALETTE, Scene
from objadapt.errors import InputError


def recall_at(
    gallery: np.ndarray, gallery_labels: np.ndarray, queries: np.ndarray, labels: np.ndarray, at: tuple[int, ...]
) -> list[float]:
    """R@k: the share of queries with a clip of their class among the k gallery clips of the greatest cosine.

    Args:
        gallery, queries: [G, d], [Q, d].
        gallery_labels, labels: int64 [G], [Q]; clips with -1 are left out of both.

    Raises:
        InputError: no labelled query, or fewer labelled gallery clips than the greatest k.
    """
    gallery, gallery_labels = gallery[gallery_labels >= 0], gallery_labels[gallery_labels >= 0]
    queries, labels = queries[labels >= 0], labels[labels >= 0]
    if not len(queries) or len(gallery) < max(at):
        raise InputError(f"data: retrieval needs a labelled validation clip and {max(at)} labelled training clips")
    nearest = np.argsort(-(_unit(queries) @ _unit(gallery).T), axis=1, kind="stable")[:, : max(at)]  # [Q, k]
    hits = gallery_labels[nearest] == labels[:, None]
    return [float(hits[:, :k].any(axis=1).mean()) for k in at]


def toy_options(root: str | None) -> Options | None:
    """The options of the Object Actions that lie in a folder; None where other data lie there."""
    stamp = Path(root or "") / "toy.json"
    return Options(**json.loads(stamp.read_text())) if root and stamp.exists() else None


def motion_probe(options: Options, train: np.ndarray, ids: list[str], val: np.ndarray, val_ids: list[str]) -> float:
    """How often a linear classifier tells an action from its reverse: mean over the 8 pairs, chance 0.5.

    The two of a pair show the same frames in opposite order, so frames without their order tell nothing.
    """
    actions, val_actions = ([scene_of(options, one).action for one in some] for some in (ids, val_ids))
    found = []
    for pair in PAIRS:
        names = [action for action, _ in pair]
        here, there = np.isin(actions, names), np.isin(val_actions, names)
        found.append(_accuracy(train[here], np.array(actions)[here], val[there], np.array(val_actions)[there]))
    return float(np.mean(found))


def scene_probe(options: Options, train: np.ndarray, ids: list[str], val: np.ndarray, val_ids: list[str]) -> float:
    """How often a linear classifier tells which of the 5 grounds a clip has; chance 0.2."""
    grounds, val_grounds = (
        np.array([scene_of(options, one).background.texture for one in some]) for some in (ids, val_ids)
    )
    return _accuracy(train, grounds, val, val_grounds)


def colours_probe(options: Options, train: np.ndarray, ids: list[str], val: np.ndarray, val_ids: list[str]) -> float:
    """How often a linear classifier tells whether an object of a colour is there: mean over colours, each answer
    counted for as much as the other, chance 0.5. Most of these objects do nothing that tells the action.
    """
    there, val_there = (
        np.array(
            [
                [any(thing.colour == colour for thing in scene_of(options, one).things[0]) for colour in PALETTE]
                for one in some
            ]
        )
        for some in (ids, val_ids)
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
    return float(
        np.mean(
            [
                balanced_accuracy_score(val_there[:, n], classifier.fit(train, there[:, n]).predict(val))
                for n in range(len(PALETTE))
            ]
        )
    )


def scene_of(options: Options, clip_id: str) -> Scene:
    """The scene of a clip of Object Actions, drawn again."""
    number = int(clip_id)
    split = "validation" if number >= SPLITS["validation"] else "train"
    return clip_scene(options, split, number - SPLITS[split])


def _accuracy(train: np.ndarray, labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray) -> float:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(classifier.fit(train, labels).score(val, val_labels))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
