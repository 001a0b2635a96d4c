"""Probes of Object Actions: 1 where vectors say what is asked, chance where they say something else."""

import numpy as np
import pytest

from objadapt.data.shapes import TEXTURES
from objadapt.data.toy import SPLITS, Options
from objadapt.data.toy_scenes import ACTIONS, PALETTE
from objadapt_relatives.probes import colours_probe, motion_probe, scene_of, scene_probe

MADE = Options()
IDS = [f"{SPLITS['train'] + n}" for n in range(480)], [f"{SPLITS['validation'] + n}" for n in range(128)]


def vectors(of_scene) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array([of_scene(scene_of(MADE, one)) for one in ids], dtype=np.float32) for ids in IDS)


KNOWN = {
    "action": vectors(lambda scene: np.eye(len(ACTIONS))[ACTIONS.index(scene.action)]),
    "ground": vectors(lambda scene: np.eye(len(TEXTURES))[TEXTURES.index(scene.background.texture)]),
    "colours": vectors(lambda scene: [colour in {thing.colour for thing in scene.things[0]} for colour in PALETTE]),
}
PROBES = {"action": (motion_probe, 1 / 2), "ground": (scene_probe, 1 / 5), "colours": (colours_probe, 1 / 2)}


@pytest.mark.parametrize("asked", PROBES)
@pytest.mark.parametrize("known", KNOWN)
def test_a_probe_reads_what_is_known_and_nothing_else(asked, known):
    (probe, chance), (train, val) = PROBES[asked], KNOWN[known]
    found = probe(MADE, train, IDS[0], val, IDS[1])
    if asked == known:
        assert found == 1
    elif "colours" in (asked, known) and "action" in (asked, known):
        assert abs(found - chance) < 0.2, "in two pairs a warm and a cool object act, which colours tell, and no more"
    else:
        assert abs(found - chance) < 0.1
