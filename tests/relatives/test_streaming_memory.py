"""Streaming memory: causal, constant for the answerer, flat in memory, one encoding for many questions, a needle."""

import gc

import pytest
import torch

from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.methods.build import build_method
from objadapt_relatives.streaming_memory.history import History, Writer
from objadapt_relatives.streaming_memory.method import StreamingMemory
from objadapt_relatives.streaming_memory.needle import Strings, _train, begun, settings_of
from objadapt_relatives.streaming_memory.selection import (
    last_clips,
    selection_loss,
    straight_through,
    top_clips,
)

B, K, F, N, J, HEADS = 2, 6, 2, 9, 8, {"verb_label": 3, "noun_label": 5}
SMALL = ("width=16", "heads=2", "layers=2", "selected=2")


def method(*settings: str, frames: int = K * F):
    overrides = [f"method.settings.{setting}" for setting in (*SMALL, *settings)]
    module = "method.module=objadapt_relatives.streaming_memory"
    return build_method(load_config(None, [f"sampling.frames={frames}", module, *overrides]), HEADS, J)


def videos(clips: int = K) -> torch.Tensor:
    return torch.randn(B, clips * F, N, J, generator=torch.Generator().manual_seed(1))


def test_editing_a_clip_leaves_all_before_it_as_they_are_bit_for_bit():
    model, before = method().eval(), videos()
    with torch.no_grad():
        summaries, indicators = model.encode(before)
        for k in range(K):
            edited = before.clone()
            edited[:, k * F : (k + 1) * F] += 1
            changed, marks = model.encode(edited)
            assert torch.equal(changed[:, :k], summaries[:, :k]) and torch.equal(marks[:, :k], indicators[:, :k])
            assert all(not torch.allclose(changed[:, j], summaries[:, j]) for j in range(k, K)), "memory is propagated"
        alone = method("memory=false").eval()
        own, _ = alone.encode(before)
        edited = before.clone()
        edited[:, :F] += 1
        assert torch.equal(alone.encode(edited)[0][:, 1:], own[:, 1:]) and not torch.equal(own[:, 0], own[:, 1])


def test_summaries_do_not_see_the_indicator_nor_frames_those_that_follow():
    """The causal mask: gradients of a token reach only what stands before it."""
    model = method().eval().encoder
    patches = torch.randn(1, F, N, J, requires_grad=True)
    kinds = model.kinds["indicator"]
    summaries, indicator = model(patches, model.begin(1), 3)
    (of_summaries,) = torch.autograd.grad(summaries.sum(), kinds, retain_graph=True, allow_unused=True)
    assert of_summaries is None or not of_summaries.any()
    (of_indicator,) = torch.autograd.grad((indicator * torch.randn(16)).sum(), patches)
    assert (of_indicator.abs().sum(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize("clips", [1, 2, 8, 512])
def test_the_answerer_gets_as_many_tokens_for_any_length(clips):
    model = method().eval()
    summaries, indicators = torch.randn(B, clips, 8, 16), torch.randn(B, clips, 16)
    chosen = model.choose(model.relevance(torch.randn(B, 16), summaries, indicators))
    picked = summaries[torch.arange(B)[:, None], chosen]
    assert chosen.shape == (B, min(clips, 2)) and (chosen.diff(dim=1) > 0).all(), "in the order of time"
    assert model.answerer.tokens(torch.randn(B, 16), picked).shape == (B, 1 + 2 * 8, 16)


def held_bytes() -> int:
    """Of all tensors that are alive."""
    gc.collect()
    return sum(each.numel() * each.element_size() for each in gc.get_objects() if type(each) is torch.Tensor)


def test_memory_is_flat_from_8_to_512_clips_and_one_encoding_answers_many_questions(tmp_path):
    model = method("width=8", "layers=1").eval()
    writer, clip = Writer(model, tmp_path / "long"), torch.randn(1, F, N, J)
    held = {}
    for k in range(512):
        writer.add(clip + k / 100, (k, k + 1.0))
        if k + 1 in (8, 64, 512):
            held[k + 1] = held_bytes()
    writer.close({"video": "a"})
    assert held[8] == held[64] == held[512]
    history = History(tmp_path / "long", {"video": "a"})
    assert history.summaries.shape == (512, 8, 8) and history.times[511].tolist() == [511, 512]
    questions = torch.randn(5, 8)
    answers = [history.ask(model, question) for question in questions]
    assert len({tuple(chosen.tolist()) for _, chosen, _ in answers}) > 1, "questions choose different segments"
    for question, (vector, chosen, cosines) in zip(questions, answers, strict=True):
        again = history.ask(model, question)
        assert torch.equal(vector, again[0]) and (chosen == again[1]).all() and len(cosines) == 2


def test_from_disk_the_answer_is_that_of_the_whole_video_at_once(tmp_path):
    model, whole = method().eval(), videos()[:1]
    writer = Writer(model, tmp_path)
    for k, clip in enumerate(whole.split(F, dim=1)):
        writer.add(clip, (k, k + 1))
    writer.close({})
    question = torch.randn(16)
    with torch.no_grad():
        vector, chosen = model.answer(question[None], *model.encode(whole))
    found, numbers, _ = History(tmp_path).ask(model, question)
    torch.testing.assert_close(found, vector[0])
    assert numbers.tolist() == chosen[0].tolist()


def test_a_history_that_is_not_whole_or_of_something_else_is_refused(tmp_path):
    model = method().eval()
    writer = Writer(model, tmp_path)
    writer.add(videos()[:1, :F], (0, 1))
    with pytest.raises(InputError, match="no whole history"):
        History(tmp_path)
    writer.close({"video": "a"})
    with pytest.raises(InputError, match=r"--history: .* is of video a \(now b\); give another folder"):
        History(tmp_path, {"video": "b"})
    (tmp_path / "indicators.f32").write_bytes(b"")
    with pytest.raises(InputError, match="no whole history"):
        History(tmp_path, {"video": "a"})


def test_selection_is_hard_forwards_and_soft_backwards():
    scores = torch.tensor([[0.1, 0.9, 0.3, 0.8]], requires_grad=True)
    summaries = torch.randn(1, 4, 3, 5)
    chosen = top_clips(scores.detach(), 2, noisy=False, temperature=0.5)
    assert chosen.tolist() == [[1, 3]] and last_clips(scores, 3).tolist() == [[1, 2, 3]]
    picked = straight_through(summaries, scores, chosen, 0.5)
    assert torch.equal(picked[0], summaries[0, [1, 3]])
    weights = torch.randn_like(picked)
    (gradient,) = torch.autograd.grad((picked * weights).sum(), scores)
    soft = torch.softmax(scores / 0.5, dim=1)
    plain = sum((summaries[0, k] * weights[0, i]).sum() * soft[0, k] for i, k in enumerate((1, 3)))
    torch.testing.assert_close(gradient, torch.autograd.grad(plain, scores)[0])
    torch.manual_seed(0)
    drawn = {tuple(top_clips(scores.detach(), 2, True, 0.5)[0].tolist()) for _ in range(50)}
    assert len(drawn) > 3, "noise lets training try others"


def test_the_warm_up_s_loss_is_the_divergence_from_the_true_segments():
    scores, true = (
        torch.randn(3, 5),
        torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.bool),
    )
    share = torch.softmax(scores / 0.3, dim=1)
    for row, value in enumerate(selection_loss(scores, true, 0.3)):
        p = true[row].float() / true[row].sum()
        expected = sum(p[k] * (p[k] / share[row, k]).log() for k in range(5) if p[k] > 0)
        torch.testing.assert_close(value, expected)
    right = torch.where(true, 50.0, -50.0)
    torch.testing.assert_close(selection_loss(right, true, 0.3), torch.zeros(3), atol=1e-5, rtol=0)


def test_every_head_asks_a_question_of_its_own_and_learns():
    model = method().train()
    batch = {
        "patches": videos().half(),
        "labels": torch.tensor([[0, 4], [2, -1]]),
        "valid": torch.tensor([True, True]),
    }
    output = model(batch)
    assert {name: tuple(scores.shape) for name, scores in output.logits.items()} == {
        "verb_label": (2, 3),
        "noun_label": (2, 5),
    }
    model.losses(output, batch, 0)["total"].backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not without, without


def test_what_is_wrong_is_said():
    for settings, frames, said in (
        (("summaries=3",), 4, "square number"),
        (("heads=3",), 4, "multiple of heads = 3"),
        (("clip_frames=3",), 4, "clip_frames: 3 does not divide sampling.frames = 4"),
    ):
        with pytest.raises(InputError, match=said):
            method(*settings, frames=frames)


CLASSES, MARKS, LONG = 4, 6, 12


def haystack(generator: torch.Generator, videos: int = 32) -> tuple[torch.Tensor, ...]:
    """Tokens [B, LONG, N, J] of videos whose clips show a mark and a class each, the mark that is asked for [B], the
    class beside it [B] and its clip [B]; a mark stands in one clip of a video at the most.
    """
    marks = torch.stack([torch.randperm(LONG, generator=generator) for _ in range(videos)])  # from MARKS on: none
    classes = torch.randint(CLASSES, (videos, LONG), generator=generator)
    shown = torch.zeros(videos, LONG, 4, MARKS + CLASSES)
    for mark in range(MARKS):
        shown[..., mark] = (marks == mark)[..., None] * 3.0
    shown[..., MARKS:] = torch.nn.functional.one_hot(classes, CLASSES)[:, :, None] * 3.0
    asked = torch.randint(MARKS, (videos,), generator=generator)
    where = (marks == asked[:, None]).int().argmax(dim=1)
    noise = 0.3 * torch.randn(shown.shape, generator=generator)
    return shown + noise, asked, classes.gather(1, where[:, None])[:, 0], where


def test_a_needle_begins_with_what_single_clips_teach():
    strings = Strings(torch.zeros(1, 8, N, J).half(), torch.zeros(1), torch.zeros(1))
    torch.manual_seed(7)
    single = StreamingMemory(settings_of(8, "adaptive"), {"label": 16}, J).learned_state()
    (model, questions), (fresh, others) = (begun(strings, 0, weights) for weights in (single, None))
    assert all(torch.equal(value, single[name]) for name, value in model.learned_state().items())
    assert not torch.equal(fresh.answerer.rank, model.answerer.rank)
    torch.testing.assert_close(questions.weight, 0.1 * others.weight + single["questions.label"])


def test_a_needle_s_warm_up_reads_answers_from_the_true_segments(monkeypatch):
    strings = Strings(torch.randn(5, 8, N, J).half(), torch.arange(5), torch.zeros(5, dtype=torch.int64))
    learner, seen = begun(strings, 0, None), []
    chosen_by_itself = learner[0].answer
    monkeypatch.setattr(learner[0], "answer", lambda *given: (seen.append(now[0]), chosen_by_itself(*given))[1])
    now = [0]
    _train(learner, strings, 4, 0, lambda step, _: now.__setitem__(0, step))
    assert seen == [2, 3], "its own selection is used from half of the steps on"


@pytest.mark.slow
def test_a_needle_is_found_by_its_question():
    """Which class stands beside the mark that is asked for? Adaptive selection > the last clips > chance; without a
    warm-up on true segments the selection finds fewer of them.
    """

    def trained(selection: str, warm_up: int) -> tuple[float, float]:
        torch.manual_seed(0)
        small = ("width=32", "layers=1", "selected=2", "clip_frames=1", "summaries=1", f"selection={selection}")
        config = load_config(
            None,
            ["sampling.frames=12", "method.module=objadapt_relatives.streaming_memory"]
            + [f"method.settings.{one}" for one in small],
        )
        model = build_method(config, {"label": CLASSES}, MARKS + CLASSES)
        questions = torch.nn.Embedding(MARKS, 32)
        optimiser = torch.optim.AdamW([*model.parameters(), *questions.parameters()], lr=3e-3)
        generator = torch.Generator().manual_seed(1)
        for step in range(500):
            tokens, asked, answer, where = haystack(generator)
            summaries, indicators = model.encode(tokens)
            question = questions(asked)
            vector, _ = model.answer(question, summaries, indicators)
            loss = torch.nn.functional.cross_entropy(model.heads["label"](vector), answer)
            if step < warm_up:
                scores = model.relevance(question, summaries, indicators)
                true = torch.nn.functional.one_hot(where, LONG).bool()
                loss = loss + selection_loss(scores, true, model.settings.temperature).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():
            tokens, asked, answer, where = haystack(torch.Generator().manual_seed(2), 400)
            vector, chosen = model.answer(questions(asked), *model.encode(tokens))
            right = (model.heads["label"](vector).argmax(dim=1) == answer).float().mean()
            found = (chosen == where[:, None]).any(dim=1).float().mean()
        return float(right), float(found)

    adaptive, recall = trained("adaptive", warm_up=300)
    last, _ = trained("last", warm_up=0)
    _, weak_recall = trained("adaptive", warm_up=0)
    print(f"adaptive {adaptive:.2f} (recall {recall:.2f}, without warm-up {weak_recall:.2f}), last {last:.2f}")
    assert adaptive > last + 0.15 and last > 1 / CLASSES + 0.02
    assert recall > weak_recall and recall > 0.8
