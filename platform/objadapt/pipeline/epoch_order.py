"""Orders of an epoch in which a clip may come more than once: class-balanced ones, and repeated augmentation.

An order is two columns: rows of the manifest, and for each place how often the epoch has had its clip before.
"""

import numpy as np

PADDING = -1  # row of a place that holds no clip
Order = tuple[np.ndarray, np.ndarray]


def balanced(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Order:
    """As many places for each class as for any other (one more or less), and as many in all as there are clips.

    A class goes through its clips in whole rounds, and the last round is a random part of them: none comes twice more
    than another. Clips without a label come once each.

    Args:
        rows: int64 [n], rows of the manifest.
        labels: int64 [n]; -1 without label.
    """
    labelled, unlabelled = rows[labels >= 0], rows[labels < 0]
    classes = np.unique(labels[labels >= 0])
    drawn, before = [unlabelled], [np.zeros(len(unlabelled), np.int64)]
    places, more = divmod(len(labelled), max(1, len(classes)))
    lucky = set(rng.permutation(classes)[:more].tolist())
    for label in classes.tolist():
        members, left = rows[labels == label], places + (label in lucky)
        rounds = -(-left // len(members))
        drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:left])
        before.append(np.arange(left) // len(members))
    order = rng.permutation(len(rows))
    return np.concatenate(drawn)[order], np.concatenate(before)[order]


def repeated(order: Order, repeats: int, batch_size: int) -> Order:
    """Each clip `repeats` times in its batch (Hoffer et al. 2020): a batch of other clips, side by side as often.

    Args:
        batch_size: global; a multiple of `repeats`. What the last batch lacks is padding.
    """
    others = batch_size // repeats
    padding = -len(order[0]) % others
    rows = np.pad(order[0], (0, padding), constant_values=PADDING)
    before = np.pad(order[1], (0, padding))
    rows = np.tile(rows.reshape(-1, 1, others), (1, repeats, 1))  # [steps, repeats, clips]
    before = repeats * before.reshape(-1, 1, others) + np.arange(repeats)[:, None] * (rows >= 0)
    return rows.reshape(-1), before.reshape(-1)
