"""Recognition scores against plain loops; views, padding, missing labels, ties and workers."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from objadapt.evaluation.recognition import Recognition, confusion_figure, true_rank

HEADS = {"verb_label": 7, "noun_label": 9}


def views(clips=40, count=3):
    """`count` views of each clip, in batches of 6 with one padding row each."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack(
        [torch.randint(-1, classes, (clips,), generator=generator) for classes in HEADS.values()], dim=1
    )
    order = torch.randperm(clips * count, generator=generator)
    batches = []
    for part in order.split(5):
        rows = torch.cat([part % clips, torch.zeros(1, dtype=torch.int64)])
        valid = torch.ones(len(rows), dtype=torch.bool)
        valid[-1] = False
        logits = {}
        for column, (head, classes) in enumerate(HEADS.items()):
            logits[head] = torch.randn(len(rows), classes, generator=generator)
            known = labels[rows, column].clamp(min=0)
            logits[head][torch.arange(len(rows)), known] += 1  # right more often than not
        batches.append((logits, {"row": rows, "labels": labels[rows], "valid": valid}))
    return labels, batches


def scores(batches, heads=HEADS):
    recognition = Recognition(heads)
    for logits, batch in batches:
        recognition.update(logits, batch)
    return recognition.compute()


def softmax(logits):
    exponentials = [math.exp(x) for x in logits]
    return [x / sum(exponentials) for x in exponentials]


def reference(labels, batches):
    """Metrics by plain loops: average the views' probabilities, sort, look."""
    per_clip = {head: {} for head in HEADS}
    for logits, batch in batches:
        for head in HEADS:
            for b, row in enumerate(batch["row"].tolist()):
                if batch["valid"][b]:
                    per_clip[head].setdefault(row, []).append(softmax(logits[head][b].tolist()))
    means = {
        head: {row: [sum(column) / len(seen) for column in zip(*seen, strict=True)] for row, seen in clips.items()}
        for head, clips in per_clip.items()
    }
    verbs, nouns = means["verb_label"], means["noun_label"]
    expected = {}
    for k in (1, 5):
        for column, (head, clips) in enumerate(means.items()):
            hits = []
            for row, probabilities in clips.items():
                true = int(labels[row, column])
                if true >= 0:
                    best = sorted(range(len(probabilities)), key=lambda c: -probabilities[c])[:k]
                    hits.append(true in best)
            expected[f"{head.removesuffix('label')}top{k}"] = sum(hits) / len(hits)
        hits = []
        for row in verbs:
            verb, noun = labels[row].tolist()
            if verb >= 0 and noun >= 0:
                pairs = {(v, n): verbs[row][v] * nouns[row][n] for v in range(7) for n in range(9)}
                hits.append((verb, noun) in sorted(pairs, key=lambda pair: -pairs[pair])[:k])
        expected[f"action_top{k}"] = sum(hits) / len(hits)
    return expected


def test_accuracies_equal_the_plain_loops():
    labels, batches = views()
    got = scores(batches)
    expected = reference(labels, batches)
    assert {name: value for name, value in got.metrics.items() if "class" not in name} == pytest.approx(expected)
    assert 0.2 < got.metrics["verb_top1"] < 1 and got.metrics["action_top1"] < got.metrics["verb_top1"]
    assert got.clips == 40 and got.views == 3


def test_confusion_and_class_accuracy_agree_with_the_table():
    labels, batches = views()
    got = scores(batches)
    for column, (head, classes) in enumerate(HEADS.items()):
        table = got.table[got.table["head"] == head]
        assert len(table) == int((labels[:, column] >= 0).sum()) == int(got.confusion[head].sum())
        for true in range(classes):
            of_class = table[table["true"] == true]
            for predicted in range(classes):
                assert got.confusion[head][true, predicted] == (of_class["predicted"] == predicted).sum()
            assert got.per_class[head][true] == pytest.approx((of_class["predicted"] == true).mean(), nan_ok=True)
        assert ((table["rank"] == 0) == (table["true"] == table["predicted"])).all()
        assert table["probability"].between(1 / classes, 1).all()
        assert table["true"].tolist() == labels[table["row"].tolist(), column].tolist()


def test_order_of_views_leaves_no_trace():
    _, batches = views()
    first, second = scores(batches), scores(batches[::-1])
    assert first.metrics == second.metrics
    assert first.table.drop(columns="probability").equals(second.table.drop(columns="probability"))


def test_one_head_has_plain_names():
    batch = {"row": torch.arange(3), "labels": torch.tensor([[0], [1], [1]]), "valid": torch.ones(3, dtype=torch.bool)}
    logits = torch.tensor([[2.0, 0, 1], [0, 1, 2], [0, 5, 0]])
    got = scores([({"label": logits}, batch)], {"label": 3})
    assert got.metrics == pytest.approx({"top1": 2 / 3, "top5": 1, "mean_class_accuracy": 0.75})
    assert got.confusion["label"].tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert got.per_class["label"].tolist() == pytest.approx([1, 0.5, math.nan], nan_ok=True)


def test_views_are_averaged_as_probabilities_not_logits():
    labels = torch.zeros(2, 1, dtype=torch.int64)
    batch = {"row": torch.zeros(2, dtype=torch.int64), "labels": labels, "valid": torch.ones(2, dtype=torch.bool)}
    logits = torch.tensor([[30.0, 0, -100], [0, 2, -100]])  # the mean logit says 0, and so does 1 + 0.12 of probability
    table = scores([({"label": logits}, batch)], {"label": 3}).table
    expected = (softmax([30, 0, -100])[0] + softmax([0, 2, -100])[0]) / 2
    assert len(table) == 1 and table["probability"][0] == pytest.approx(expected)


def test_tied_probabilities_do_not_count_as_right():
    """A model that says nothing is right for class 0 alone, and not for every class."""
    batch = {"row": torch.arange(8), "labels": torch.arange(8)[:, None], "valid": torch.ones(8, dtype=torch.bool)}
    got = scores([({"label": torch.zeros(8, 8)}, batch)], {"label": 8})
    assert got.metrics["top1"] == 1 / 8 and got.metrics["top5"] == 5 / 8
    assert true_rank(torch.full((8, 8), 0.125), torch.arange(8)).tolist() == list(range(8))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_diverged_logits_are_an_error_and_not_an_accuracy(value):
    batch = {"row": torch.arange(2), "labels": torch.zeros(2, 1).long(), "valid": torch.tensor([True, False])}
    logits = torch.zeros(2, 3)
    logits[1] = value
    assert scores([({"label": logits}, batch)], {"label": 3}).clips == 1  # a padding row may hold anything
    logits[0] = value
    with pytest.raises(FloatingPointError, match="'label'"):
        scores([({"label": logits}, batch)], {"label": 3})


@pytest.mark.parametrize("heads", [HEADS, {"label": 4}], ids=["two heads", "one head"])
def test_nothing_to_score_gives_nan_and_no_clips(heads):
    got = scores([], heads)
    assert got.clips == 0 and got.views == 0 and len(got.table) == 0
    assert all(math.isnan(value) for value in got.metrics.values())
    assert all(matrix.sum() == 0 for matrix in got.confusion.values())


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    got = scores(views()[1][rank::2])  # the views of one clip fall to both workers
    torch.save((got.metrics, got.confusion, got.table.to_dict("list")), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_workers_agree_with_one(tmp_path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    expected = scores(views()[1])
    for rank in range(2):
        metrics, confusion, table = torch.load(tmp_path / f"{rank}.pt")
        assert metrics == expected.metrics
        assert all(torch.equal(confusion[head], expected.confusion[head]) for head in HEADS)
        for name, column in expected.table.to_dict("list").items():
            assert table[name] == (pytest.approx(column, rel=1e-12) if name == "probability" else column)


@pytest.mark.parametrize("classes", [1, 6, 174, 400])
def test_confusion_figure_draws_any_number_of_classes(classes, tmp_path):
    confusion = torch.eye(classes, dtype=torch.int64) * 3
    confusion[0] = 0  # a class without clips
    names = [f"Pretending to put [something] #{i} $ behind [something] $ " * 2 for i in range(classes)]
    figure = confusion_figure(confusion, names)
    figure.savefig(tmp_path / "confusion.png", dpi=40)
    axes = figure.axes[0]
    assert axes.images[0].get_array().shape == (classes, classes)
    assert 1 <= len(axes.get_xticklabels()) <= 45 and all(
        len(label.get_text()) <= 40 for label in axes.get_xticklabels()
    )
    assert sorted(text.get_text() for text in axes.texts) == ["3"] * (classes - 1 if classes <= 20 else 0)
