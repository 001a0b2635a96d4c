"""Placement: 64 tokens from any image, spotting, retrieval, a choice that needs the pictures so far, whole articles."""

import json
import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from objadapt.data.shapes import COLOURS, GROUNDS, SHAPES, Thing, render, render_background
from objadapt.errors import InputError
from objadapt_relatives.interleaved_placement.articles import PICTURED, SENTENCES, Articles, make_pool
from objadapt_relatives.interleaved_placement.choosing import CANDIDATES, Chooser, retrieve
from objadapt_relatives.interleaved_placement.document import Document
from objadapt_relatives.interleaved_placement.embedding import load_clip
from objadapt_relatives.interleaved_placement.learning import FACTS, WEIGHTS, learn, load, measure, save
from objadapt_relatives.interleaved_placement.placing import place_pictures, spotted
from objadapt_relatives.interleaved_placement.sampler import PerceiveSampler
from objadapt_relatives.interleaved_placement.spotting import Spotter, evenly, f1

PLATFORM = Path(__file__).resolve().parents[2] / "platform"


@pytest.mark.parametrize("tokens", [1, 7, 257, 1024])
def test_64_tokens_come_out_of_any_number(tokens):
    torch.manual_seed(0)
    sampler, image = PerceiveSampler(12, 20, layers=3).eval(), torch.randn(2, tokens, 12)
    found = sampler(image)
    assert found.shape == (2, 64, 20)
    torch.testing.assert_close(found, sampler(image[:, torch.randperm(tokens)]))  # it reads a set
    assert not torch.allclose(found[0], found[1]), "what comes out is of the image"


def test_f1_and_the_even_baseline():
    chosen, true = torch.tensor([1, 1, 0, 0, 1]).bool(), torch.tensor([1, 0, 0, 1, 1]).bool()
    assert f1(chosen, true) == 2 * 2 / 6 and f1(true, true) == 1 and f1(~true, true) == 0
    assert f1(true & False, true & False) == 1
    for number in range(1, 12):
        for pictures in range(1, number + 1):
            assert evenly(number, pictures).sum() == pictures


def test_padding_changes_no_sentence():
    torch.manual_seed(0)
    spotter, text = Spotter(6).eval(), torch.randn(1, 5, 6)
    present = torch.tensor([[True] * 5 + [False] * 2])
    padded = torch.cat([text, torch.randn(1, 2, 6)], dim=1)
    torch.testing.assert_close(spotter(padded, present)[:, :5], spotter(text, present[:, :5]), atol=1e-5, rtol=1e-5)


def test_retrieval_is_by_cosine():
    pictures = torch.tensor([[1.0, 0], [0, 1], [5, 5], [-1, 0]])
    assert retrieve(torch.tensor([[2.0, 0.1], [0.1, 3]]), pictures, 2).tolist() == [[0, 2], [1, 2]]
    with pytest.raises(ValueError, match="fewer than the 5"):
        retrieve(pictures, pictures, 5)


def test_candidates_are_judged_one_by_one():
    torch.manual_seed(0)
    chooser, context, candidates = Chooser(6).eval(), torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    pictured = torch.tensor([[False, True, False]] * 2)
    scores, order = chooser(context, pictured, candidates), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(chooser(context, pictured, candidates[:, order]), scores[:, order])
    assert not torch.allclose(chooser(context, ~pictured, candidates), scores), "a picture is no sentence"


def test_a_long_text_is_spotted_part_by_part():
    torch.manual_seed(0)
    spotter, text = Spotter(6).eval(), torch.randn(19, 6)
    parts = torch.cat([spotted(part, spotter) for part in (text[:8], text[8:16], text[16:])])
    assert spotted(text, spotter).tolist() == parts.tolist()
    placed = place_pictures(torch.randn(200, 6), torch.randn(5, 6), spotter, Chooser(6).eval())
    assert len(placed) == len(set(placed.values())) <= 5, "a picture is used once"


@pytest.fixture(scope="module")
def clip():
    return load_clip()


@pytest.fixture(scope="module")
def pool(clip):
    return make_pool(clip, 1)


def test_the_small_clip_finds_the_caption_of_a_picture(clip, pool):
    """Both towers are the shipped ones: a picture is nearest to captions of its own shape and colour."""
    captions = pool.named.mean(dim=2).flatten(0, 1)
    guess = (pool.pictures.flatten(0, 2) @ captions.T).argmax(dim=1)
    right = torch.arange(len(SHAPES) * len(COLOURS)).repeat_interleave(pool.pictures.shape[2])
    assert (guess == right).float().mean() > 0.25, "chance is 0.02"
    torch.testing.assert_close(pool.pictures.norm(dim=-1), torch.ones(pool.pictures.shape[:3]))
    with pytest.raises(ValueError, match="dragon: not among the small CLIP's 99 words, those of .*vocabulary.txt"):
        clip.sentences(["A red Dragon."])
    with pytest.raises(ValueError, match="würfel: not among"):
        clip.sentences(["a Würfel"])
    torch.testing.assert_close(clip.sentences(["A red circle!"]), clip.sentences(["a red circle"]))


def test_articles_name_their_colour_once(pool):
    articles, others = Articles(pool, 3), Articles(pool, 3)
    for _ in range(5):
        one, same = articles.article(), others.article()
        torch.testing.assert_close(one.sentences, same.sentences)
        assert one.pictured.sum() == PICTURED and len(one.sentences) == SENTENCES and len(set(one.things)) == PICTURED
        context, kinds, candidates, right = articles.choice(1)
        assert kinds.sum() == 1 and candidates.shape[0] == CANDIDATES and 0 <= right < CANDIDATES
        assert len(context) == SENTENCES + 1 and not kinds[-1]
        others.choice(1)


@pytest.fixture(scope="module")
def learnt(clip, pool):
    return learn(clip, Articles(pool, 0), 0)


@pytest.mark.slow
def test_where_beats_even_places_and_context_beats_captions(clip, learnt):
    found = measure(learnt, Articles(make_pool(clip, 2), 1))
    print(found)
    assert found["where_f1"] > 0.9 > 0.6 > max(found["where_f1_even"], found["where_f1_random"])
    assert found["which"] > found["which_by_caption"] + 0.15 and found["which_by_caption"] < 0.5
    assert found["placed"] > 0.15, "of 24 pictures, three of which are wanted"


@pytest.mark.slow
def test_what_was_learnt_is_kept_and_a_damaged_file_is_refused(learnt, pool, tmp_path):
    save(learnt, tmp_path, {"where_f1": 1.0})
    again, article = load(tmp_path), Articles(pool, 9).article()
    assert place_pictures(article.sentences, article.pictures, again.spotter, again.chooser) == place_pictures(
        article.sentences, article.pictures, learnt.spotter, learnt.chooser
    )
    for name in (WEIGHTS, FACTS):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
        with pytest.raises(InputError, match="holds no trained placement .*learn --output"):
            load(tmp_path)
        save(learnt, tmp_path, {})


ARTICLE = """# Shapes

The things on the ground. A large red circle at middle centre. Two objects near the background.

The things in the picture. A large star at **middle** centre! One of the things.
"""


def run(name: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"objadapt_relatives.interleaved_placement.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(PLATFORM)})


@pytest.mark.slow
def test_the_commands_illustrate_an_article_from_a_folder_and_from_a_video(tmp_path, toy_root):
    (tmp_path / "article.md").write_text(ARTICLE)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for shape in ("circle", "star"):
        for colour in ("red", "blue", "green"):
            thing = Thing(shape, colour, 0.5, 0.5, 0.2)
            drawn = render([thing], render_background(GROUNDS[0], 128), 128)[0]
            Image.fromarray(drawn).save(pictures / f"{colour} {shape}.png")
    learned = run("learn", "--output", tmp_path / "placement", "--json", tmp_path / "found.json")
    assert learned.returncode == 0, learned.stderr
    assert json.loads((tmp_path / "found.json").read_text())["where_f1"] > 0.9
    common = ["--placement", tmp_path / "placement", "--json", tmp_path / "placed.json"]
    done = run("illustrate", tmp_path / "article.md", *common, "--pictures", pictures, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    placed = json.loads((tmp_path / "placed.json").read_text())
    told = [one.plain for one in Document.read(tmp_path / "article.md").sentences]
    assert placed and [one["sentence"] for one in placed] == [
        one for one in told if one in {two["sentence"] for two in placed}
    ], "sentences of the article, in its order; which ones and which pictures is measured above"
    assert len({one["picture"] for one in placed}) == len(placed), "a picture is used once"
    written = (tmp_path / "out" / "article.html").read_text()
    for number, one in enumerate(placed, 1):
        assert f'src="pictures/{number:02d}.png"' in written
        assert (tmp_path / "out" / "pictures" / f"{number:02d}.png").read_bytes() == (
            pictures / one["picture"]
        ).read_bytes()

    video = sorted((toy_root / "videos").iterdir())[0]
    done = run(
        "illustrate", tmp_path / "article.md", *common, "--video", video, "--every", "0.5", "--output", tmp_path / "v"
    )
    assert done.returncode == 0, done.stderr
    placed = json.loads((tmp_path / "placed.json").read_text())
    assert len(list((tmp_path / "v" / "pictures").iterdir())) == len(placed) > 0 and " at " in done.stdout

    (tmp_path / "odd.md").write_text("A dragon flies.\n")
    wrong = {
        ("odd.md", "--pictures", pictures): "dragon, flies: not among the small CLIP's",
        ("gone.md", "--pictures", pictures): "No such file",
        ("article.md", "--pictures", tmp_path / "placement"): "has no picture",
        ("article.md",): "--pictures, --video: give one of both",
        ("article.md", "--video", video, "--every", "inf"): "--every: inf must be",
        ("article.md", "--pictures", pictures, "--weights", "x"): "learnt with the small CLIP",
        ("article.md", "--video", tmp_path / "article.md"): "cannot be decoded",
    }
    for (article, *pool), said in wrong.items():
        refused = run("illustrate", tmp_path / article, *common, *pool, "--output", tmp_path / "x")
        assert refused.returncode == 2 and said in refused.stderr, refused.stderr
        told = [line for line in refused.stderr.strip().splitlines() if " INFO " not in line]  # a busy machine's waits
        assert len(told) == 1
    refused = run("illustrate", tmp_path / "article.md", *common, "--pictures", pictures, "--output", tmp_path)
    assert refused.returncode == 2 and "would be written among those of --pictures" in refused.stderr
    (pictures / "broken.png").write_bytes(b"no picture")
    refused = run("illustrate", tmp_path / "article.md", *common, "--pictures", pictures, "--output", tmp_path / "x")
    assert refused.returncode == 2 and f"--pictures: {pictures / 'broken.png'}: not an image" in refused.stderr


def test_a_whole_clip_of_open_clip_is_read_from_a_file(tmp_path):
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32-alt")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "clip.safetensors")
    clip = load_clip("ViT-S-32-alt", str(tmp_path / "clip.safetensors"))
    torch.testing.assert_close(
        clip.sentences(["a dragon"]),
        model.eval().encode_text(open_clip.get_tokenizer("ViT-S-32-alt")(["a dragon"]), normalize=True).detach(),
    )
    with pytest.raises(ValueError, match="longer than the 77 tokens"):
        clip.sentences(["a dragon " * 60])
    with pytest.raises(InputError, match="--clip: the text tower of ViT-B-16-SigLIP is downloaded"):
        load_clip("ViT-B-16-SigLIP", "x")
    with pytest.raises(InputError, match="--weights: ViT-S-32-alt needs a file"):
        load_clip("ViT-S-32-alt")
    with pytest.raises(InputError, match="--clip: open_clip has no model ViT-B-61; did you mean"):
        load_clip("ViT-B-61")
    with pytest.raises(InputError, match="^--weights: .* does not fit the model"):
        load_clip("ViT-B-32", str(tmp_path / "clip.safetensors"))
