"""The scenes of Object Actions: the class is what happens to whom, and no single frame tells it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, ks_2samp
from sklearn.ensemble import RandomForestClassifier

from objadapt.data import toy_scenes as toy
from objadapt.data.shapes import COLOURS, GROUNDS, SHAPES, Thing

# What each action does, told from the actors' attributes at the first and the last frame:
# positive for the first of a pair.
SIGNS = {
    "moves left": lambda a, b: a[0].x - b[0].x,
    "moves up": lambda a, b: a[0].y - b[0].y,
    "grows": lambda a, b: b[0].radius - a[0].radius,
    "appears": lambda a, b: b[0].opacity - a[0].opacity,
    "approaches": lambda a, b: np.hypot(a[0].x - a[1].x, a[0].y - a[1].y) - np.hypot(b[0].x - b[1].x, b[0].y - b[1].y),
    "passes left": lambda a, b: min(a[0].x - b[0].x, b[1].x - a[1].x),
    "outgrows": lambda a, b: min(b[0].radius - a[0].radius, a[1].radius - b[1].radius),
}


@pytest.mark.parametrize("pair", toy.PAIRS, ids=lambda pair: pair[0][0])
def test_the_label_says_what_happens(pair):
    (forward, _), (backward, _) = pair
    rng = np.random.default_rng(11)
    for _ in range(20):
        for action, sign in ((forward, 1), (backward, -1)):
            scene = toy.draw_scene(action, 24, rng)
            actors = [moment[-scene.actors :] for moment in scene.things]
            if forward == "circles clockwise":
                path = np.array([[one[0].x, one[0].y] for one in actors])
                steps = np.diff(path, axis=0)
                turning = np.cross(np.c_[steps[:-1], np.zeros(22)], np.c_[steps[1:], np.zeros(22)])[:, 2].sum()
                assert sign * turning > 0  # y points down: a positive turn is clockwise to the eye
            else:
                assert sign * SIGNS[forward](actors[0], actors[-1]) > 0.02


@pytest.mark.parametrize("pair", toy.PAIRS, ids=lambda pair: pair[0][0])
def test_a_clip_and_its_reverse_differ_in_the_order_of_frames_alone(pair):
    """The second of a pair under the same draw is the first with time turned around,
    camera and distractors included.
    """
    (forward, _), (backward, _) = pair
    one, other = (toy.draw_scene(action, 12, np.random.default_rng(5)) for action in (forward, backward))
    assert one.things == other.things[::-1] and np.array_equal(one.shifts, other.shifts[::-1])


def test_distractors_and_camera_tell_nothing_of_the_direction_of_time():
    """How a distractor's path and the camera's begin and how they end come from one distribution."""
    rng = np.random.default_rng(6)
    scenes = [toy.draw_scene("grows", 12, rng) for _ in range(600)]
    shifts = np.array([scene.shifts for scene in scenes])
    swings = np.array([[moment[0].x for moment in scene.things] for scene in scenes])
    assert np.ptp(swings, axis=1).max() > 0.02  # some swing
    for values in (shifts[:, :, 0], swings - swings.mean(1, keepdims=True)):
        assert ks_2samp(np.diff(values, axis=1)[:, 0], -np.diff(values, axis=1)[:, -1]).pvalue > 0.01


def test_distractors_end_as_they_began_and_most_of_them_change_meanwhile():
    rng = np.random.default_rng(8)
    changed = []
    for _ in range(200):
        scene = toy.draw_scene("moves up", 24, rng)
        first, last = (moment[: -scene.actors] for moment in (scene.things[0], scene.things[-1]))
        for number, (one, other) in enumerate(zip(first, last, strict=True)):
            np.testing.assert_allclose((one.x, one.y, one.radius), (other.x, other.y, other.radius), atol=1e-9)
            path = np.array([[m[number].x, m[number].y, m[number].radius] for m in scene.things])
            changed.append(np.ptp(path, axis=0).max() > 0.02)
    assert 0.6 < np.mean(changed) < 0.9


def test_objects_of_a_clip_differ_in_colour_and_clips_share_few_grounds():
    rng, grounds = np.random.default_rng(9), set()
    for number in range(300):
        scene = toy.draw_scene(toy.ACTIONS[number % 16], 4, rng)
        colours = [thing.colour for thing in scene.things[0]]
        assert len(set(colours)) == len(colours) and 2 <= len(colours) <= 4
        grounds.add(id(scene.background))
    assert grounds == {id(ground) for ground in GROUNDS} and len(grounds) == 5


@pytest.mark.parametrize("action", ["passes left", "passes right", "outgrows", "gives way"])
def test_who_does_what_is_told_by_warm_and_cool_colours(action):
    rng = np.random.default_rng(10)
    for _ in range(30):
        for moment in toy.draw_scene(action, 4, rng).things:
            warm, cool = moment[-2:]
            assert warm.colour in toy.WARM and cool.colour in toy.COOL


def attributes(things: list[Thing], shift: np.ndarray) -> list[float]:
    """All there is to know of one frame: the attributes of up to 4 objects, actors last, and the camera's offset."""
    kinds = [(SHAPES.index(one.shape), list(COLOURS).index(one.colour)) for one in things]
    known = [
        [*kind, o.x, o.y, o.radius, o.angle, o.aspect, o.light, o.opacity]
        for kind, o in zip(kinds, things, strict=False)
    ]
    return [*np.ravel([[-1.0] * 9] * (4 - len(things)) + known), *shift]


def probe(
    pair: tuple, rng: np.random.Generator, scenes: int = 2000, length: int = 24, see=attributes
) -> tuple[np.ndarray, float]:
    """A forest's grasp of which of a pair a clip is, learnt from half of the scenes and asked of the other half.

    Returns the exact 95 % interval of its accuracy given what it may `see` of one frame at a random time, and its
    accuracy given two frames, an early and a late one.
    """
    actions = [action for action, _ in pair]
    labels, single, double = np.arange(scenes) % 2, [], []
    for label in labels:
        scene = toy.draw_scene(actions[label], length, rng)
        frame = [see(*moment) for moment in zip(scene.things, scene.shifts, strict=False)]
        single.append(frame[rng.integers(length)])
        early, late = np.array(frame[rng.integers(length // 3)]), np.array(frame[-1 - rng.integers(length // 3)])
        double.append([*early, *late, *(late - early)])

    def right(features: list) -> tuple[int, int]:
        features, half = np.array(features), scenes // 2
        forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=0).fit(features[:half], labels[:half])
        return int((forest.predict(features[half:]) == labels[half:]).sum()), scenes - half

    interval = binomtest(*right(single)).proportion_ci(0.95, method="exact")
    hits, clips = right(double)
    return np.array(interval), hits / clips


@pytest.mark.slow
@pytest.mark.parametrize("number, pair", enumerate(toy.PAIRS), ids=[pair[0][0] for pair in toy.PAIRS])
def test_no_single_frame_tells_a_clip_from_its_reverse(number, pair):
    """A probe that is given the true attributes of a frame is at chance; given two frames it is not.

    Of honest data one interval in 20 misses 50 %, so one of the 8 pairs' would in every third run of the suite: a leak
    is what shows again, to the same side, in scenes drawn anew.
    """
    interval, double = probe(pair, np.random.default_rng([0, number]))
    if not interval[0] <= 0.5 <= interval[1]:
        again, _ = probe(pair, np.random.default_rng([1, number]))
        assert again[0] <= 0.5 <= again[1] or (again[0] > 0.5) != (interval[0] > 0.5)
    # two places on a circle leave open which way it went round; elsewhere two frames are enough
    assert double > (0.55 if pair[0][0].startswith("circles") else 0.9)


def without_looks(things: list[Thing], shift: np.ndarray) -> list[float]:
    """What a colour-blind onlooker sees of the two actors, the left one first: where they are, how large."""
    pair = sorted(things[-2:], key=lambda thing: thing.x)
    return [value for thing in pair for value in (thing.x, thing.y, thing.radius)]


@pytest.mark.slow
@pytest.mark.parametrize("pair", [pair for pair in toy.PAIRS if pair[0][0] in ("passes left", "outgrows")])
def test_the_class_is_what_happens_to_whom(pair):
    """Two frames tell a forest nothing of these pairs unless it sees which of the two is the warm one."""
    _, double = probe(pair, np.random.default_rng(3), see=without_looks)
    assert 0.44 < double < 0.56
    _, double = probe(pair, np.random.default_rng(3))
    assert double > 0.9


def test_the_probe_finds_a_leak(monkeypatch):
    """Were moves to the right a little darker, the probe would tell them from moves to the left."""
    pair, draw = toy.PAIRS[0], toy.draw_scene

    def leaking(action, length, rng):
        scene = draw(action, length, rng)
        things = [
            [replace(one, light=one.light * (0.9 if action == "moves right" else 1)) for one in now]
            for now in scene.things
        ]
        return replace(scene, things=things)

    monkeypatch.setattr(toy, "draw_scene", leaking)
    assert probe(pair, np.random.default_rng(0), scenes=600)[0][0] > 0.5
