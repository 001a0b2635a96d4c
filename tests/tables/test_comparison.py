"""A row is set against the paper's number only where data, backbone, frames, model and views are the paper's."""

import json
from pathlib import Path

import pandas as pd
import pytest

from objadapt.config_file import load_config
from objadapt.data.davis import Sequence
from objadapt.metric import METRICS
from objadapt.tables import formats
from objadapt.tables.comparison import DATA_SETS, DAVIS, Setting, incomparable, is_davis, never
from objadapt.tables.outcome import RowResult, outcome, what_errors_hold
from objadapt.tables.table import Table, load_table, row_config, table_names

CONFIGS = Path(__file__).resolve().parents[2] / "jobs" / "configs"


def setting(
    table: Table, row, dataset: str, *overrides: str, crop: int = 224, classes: int | None = None, davis: bool = True
) -> Setting:
    """As `jobs/reproduce.py --dataset DATASET OVERRIDES` would run it."""
    base = load_config(CONFIGS / f"{dataset}.yaml")
    config = row_config(table, row, base, ["stream.cache=features", *overrides], dataset, 0)
    return Setting(config, crop, classes or DATA_SETS[dataset].classes, davis)


def summary(dataset: str, train: float = 0.95, val: float = 0.98, **more) -> dict:
    """Of a run on so great a share of the published clips."""
    clips = {split: int(share * DATA_SETS[dataset].clips[split]) for split, share in (("train", train), ("val", val))}
    coverage = {split: {"found": found, "listed": found} for split, found in clips.items()}
    return {
        "num_train_clips": clips["train"],
        "num_val_clips": clips["val"],
        "coverage": coverage,
        "top1": 0.8,
        "top5": 0.9,
        "gflops": 281.0,
        "adapter_gflops": 3.0,
        "tunable_parameters": 6.5e6,
        "davis_jf": 0.4,
        "foreground_norm": 20.0,
        "background_norm": 2.0,
        "views": "16 x 3 x 1",
        "chance": 0.0025,
    } | more


def reason(
    metric: str,
    *overrides: str,
    table: str = "losses",
    row: str = "both",
    dataset: str = "kinetics400",
    runs=None,
    **more,
) -> str | None:
    found = load_table(table)
    asked = next((one for one in found.rows if one.name == row), found.rows[-1])
    how = setting(found, asked, dataset, *overrides, **more)
    return incomparable(METRICS[metric], found, asked, dataset, how, runs or [summary(dataset)])


@pytest.mark.parametrize("dataset", sorted(DATA_SETS))
@pytest.mark.parametrize("name", table_names())
def test_the_shipped_tables_on_the_whole_of_the_papers_data_are_compared(name, dataset):
    """Each row's T, backbone, model and losses, as the table runs it, are those that it declares as the paper's."""
    table = load_table(name)
    rows = [row for row in table.rows if not row.published and dataset in (table.datasets or [dataset])]
    for row in rows:
        for column in table.columns(dataset):
            if row.paper.get(column["paper"]) is None or dataset in row.missing:
                continue
            found = incomparable(
                METRICS[column["metric"]], table, row, dataset, setting(table, row, dataset), [summary(dataset)]
            )
            assert found == never(METRICS[column["metric"]]), (row.name, column["metric"])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["sampling.frames=8"], "T = 8, the paper's is 16"),
        (
            ["backbone.name=ViT-L-14-quickgelu"],
            "backbone open_clip ViT-L-14-quickgelu openai, the paper's is open_clip ViT-B-16-quickgelu openai",
        ),
        (
            ["backbone.pretrained=laion2b_s34b_b88k"],
            "backbone open_clip ViT-B-16-quickgelu laion2b_s34b_b88k, the paper's is",
        ),
        (
            ["backbone.weights=/some/where/other.pt"],
            "backbone open_clip ViT-B-16-quickgelu weights from other.pt, the paper's is",
        ),
        (
            ["backbone.library=timm", "backbone.name=vit_base_patch16_clip_224.openai", "backbone.pretrained=default"],
            "backbone timm vit_",
        ),
        (["backbone.library=small_clip"], "backbone small_clip, the paper's is"),
        (["method.slots.number=4"], "method.slots.number = 4, the paper's row has 8"),
        (["method.interval=2"], "method.interval = 2, the paper's row has 4"),
        (["method.width=64"], "method.width = 64, the paper's row has None"),
        (["method.losses.temporal.margin=0.5"], "method.losses.temporal.margin = 0.5, the paper's row has 0.3"),
    ],
)
@pytest.mark.parametrize("metric", ["top1", "gflops", "tunable_parameters", "foreground_norm"])
def test_another_backbone_other_frames_or_another_model_is_no_match(metric, overrides, told):
    assert reason(metric) is None
    assert told in reason(metric, *overrides)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["evaluation.temporal_clips=1"], "testing views 1 x 1, not 3 x 1"),
        (["evaluation.spatial_crops=3"], "testing views 3 x 3, not 3 x 1"),
        (["evaluation.reverse=true"], "testing views 3 x 1, frames backwards, not 3 x 1"),
        (["data.fraction=0.99"], "data.fraction = 0.99"),
        (["data.holdout=0.01"], "validated on clips held out of the training clips"),
    ],
)
def test_part_of_the_data_or_other_views_are_no_match_for_an_accuracy_and_all_one_for_a_count(overrides, told):
    assert reason("top1", *overrides) == reason("top5", *overrides) == told
    assert reason("gflops", *overrides) is None and reason("tunable_parameters", *overrides) is None


@pytest.mark.parametrize(
    "runs",
    [
        [summary("kinetics400", train=0.0001)],
        [summary("kinetics400", val=0.0001)],
        [summary("kinetics400", train=0.9)],
        [summary("kinetics400", val=0.89)],
        # files that are there and broken; of one seed
        [
            summary("kinetics400"),
            summary("kinetics400", num_train_clips=200_000),
        ],
        [summary("kinetics400", coverage={"train": {"found": 12, "listed": 12}, "val": {"found": 8, "listed": 8}})],
        [summary("kinetics400", coverage={})],
    ],
)
def test_a_handful_of_clips_is_no_match_however_few_are_listed(runs):
    assert "clips, the paper's data set has" in reason("top1", runs=runs) and "clips, the" in reason(
        "background_norm", runs=runs
    )
    assert reason("gflops", runs=runs) is None, "no clip is in it"


def test_more_than_nine_tenths_of_the_clips_are_enough():
    assert reason("top1", runs=[summary("kinetics400", train=0.901, val=0.901)]) is None


def test_other_classes_or_crops_match_in_nothing():
    assert (
        reason("tunable_parameters", classes=399)
        == reason("top1", classes=399)
        == "399 classes, the paper's data set has 400"
    )
    assert reason("gflops", crop=336) == reason("top1", crop=336) == "crops of 336 pixels, the paper's are of 224"


def test_objects_and_adapter_gflops_are_never_compared_and_norms_on_davis_alone():
    assert reason("davis_jf") == "the paper does not say by which protocol it scored"
    assert reason("adapter_gflops") == "no convention of counting gives the paper's numbers"
    assert reason("foreground_norm", table="state_change_norm") is None
    assert (
        reason("foreground_norm", table="state_change_norm", davis=False)
        == "the sequences are not DAVIS-2017's validation set"
    )


def test_a_data_set_that_is_none_of_the_papers_and_a_table_that_does_not_say_the_papers_setting():
    table = load_table("losses")
    how = setting(table, table.rows[0], "kinetics400")
    for dataset in ("toy", "kinetics400-mine", "epic_kitchens_100"):
        assert (
            incomparable(METRICS["gflops"], table, table.rows[0], dataset, how, [summary("kinetics400")])
            == "the data set is not the paper's"
        )
    silent = table.model_copy(update={"paper_setting": type(table.paper_setting)()})
    assert "losses.yaml does not say with which backbone" in incomparable(
        METRICS["top1"], silent, table.rows[0], "kinetics400", how, [summary("kinetics400")]
    )
    assert (
        incomparable(METRICS["top1"], table, table.rows[0], "kinetics400", None, [summary("kinetics400")])
        == "nothing is known of how it was run"
    )


def sequences(folder: str = "Annotations_unsupervised", names=DAVIS, frames: int = 1999) -> tuple[Sequence, ...]:
    names, extra = sorted(names), frames - 30 * 60
    return tuple(
        Sequence(
            name,
            (),
            tuple(Path(f"davis/{folder}/480p/{name}/{number:05d}.png") for number in range(60 + extra * (at == 0))),
        )
        for at, name in enumerate(names)
    )


def test_davis_is_its_thirty_whole_sequences_with_the_annotations_of_the_unsupervised_task(shared):
    assert len(DAVIS) == 30 and is_davis(sequences())
    assert not is_davis(sequences("Annotations")), "objects are numbered otherwise in the semi-supervised task"
    assert not is_davis(sequences(frames=1998)) and not is_davis(sequences(names={f"toy-{n}" for n in range(30)}))
    assert not is_davis(sequences()[:8])
    listed = set((shared / "davis" / "ImageSets" / "2017" / "pseudo_gt.txt").read_text().split())
    assert listed <= DAVIS, "sequences of DAVIS-2017's validation set that are in the data pack"


def test_rows_that_are_no_match_stand_beside_the_papers_numbers_without_a_difference():
    """One row as the paper's, one with other slots, one of masks that others made: in all texts."""
    table = load_table("num_slots")
    results = {row.name: RowResult(missing="left out by --rows") for row in table.rows}
    for name, overrides in (("K8", []), ("K16", ["method.width=256"])):
        row = next(row for row in table.rows if row.name == name)
        results[name] = RowResult(
            {0: summary("kinetics400")},
            {0: pd.Series([True], index=["a"])},
            setting=setting(table, row, "kinetics400", *overrides),
        )
    results["RVOS"] = RowResult({0: {"davis_jf": 0.5}}, wanted=1)
    for one in results.values():
        for made in one.summaries.values():
            made |= {"views": "8 x 3 x 1", "coverage": summary("kinetics400")["coverage"], "chance": 0.0025}
    found = outcome(table, "kinetics400", results, [0], toy=False)
    header, lines = formats.grid(found)
    cells = {line[0]: dict(zip(header, line, strict=False)) for line in lines}
    top1 = header.index("difference")
    assert header[top1 - 1] == "top-1 (%), ours" and "DAVIS J&F (%), ours" in header
    assert (
        header[header.index("DAVIS J&F (%), ours") + 1] != "difference"
        and cells["RVOS"]["DAVIS J&F (%), ours"] == "50.0"
    )
    by_name = {line[0]: line[top1] for line in lines}
    assert by_name == {"K1": "-", "K4": "-", "K8": "-5.8", "K16": "-", "none": "-", "linear-probe": "-", "RVOS": "-"}
    assert cells["K16"]["top-1 (%), paper"] == "85.9", "the paper's number stays, for orientation"
    told = (
        "for orientation alone, no difference to the paper:"
        " top-1 (%), total GFLOPs, parameters (M) (K16): method.width = 256"
    )
    for render in (formats.terminal, formats.markdown, formats.latex):
        text = render(found)
        assert told in text and "-5.8" in text


def losses(*overrides: str) -> dict[str, RowResult]:
    """The rows of `losses` on two seeds of all of Kinetics-400."""
    table, runs = load_table("losses"), {seed: summary("kinetics400", top1=0.8 + 0.02 * seed) for seed in (0, 1)}
    return {
        row.name: RowResult(dict(runs), setting=setting(table, row, "kinetics400", *overrides)) for row in table.rows
    }


def shown(results: dict[str, RowResult]) -> dict:
    return outcome(load_table("losses"), "kinetics400", results, [0, 1], toy=False)


def test_the_head_names_what_the_rows_were_run_with_or_that_they_differ():
    text = formats.terminal(shown(losses()))
    assert (
        "backbone open_clip ViT-B-16-quickgelu openai; T 16; epochs 30 (2 of warm-up); batch 64; stored views 2\n"
        in text
    )
    assert "coverage: train 234,207 of 234,207, val 19,507 of 19,507 videos; chance 0.2 %" in text
    mixed = losses()
    mixed["both"] = losses("training.epochs=2", "training.warmup_epochs=9", "stream.storage=int8")["both"]
    fewer = {"coverage": {"train": {"found": 9, "listed": 10}}}
    mixed["both"].summaries[0] = (
        mixed["both"].summaries[0] | fewer | {"cautions": ["training.warmup_epochs: 9 of 2 epochs"]}
    )
    for render in (formats.terminal, formats.markdown, formats.latex):
        text = render(shown(mixed))
        assert (
            "epochs rows differ (30 (2 of warm-up), 2 (1 of warm-up)); batch 64; stored views rows differ (2, 2 (int8))"
            in text
        )
        assert "rows differ (train 234,207 of 234,207, val 19,507 of 19,507 videos; train 9 of 10 videos)" in text
        assert "both: training.warmup" in text.replace(r"\_", "_")
    assert json.loads(formats.json_text(shown(mixed)))["setting"]["frames"] == ["16"]


def test_what_the_errors_hold_and_what_they_do_not_is_said_in_words():
    def words(*rows: list[str]) -> str:
        return what_errors_hold([load_config(None, ["stream.cache=features", *one]) for one in rows])

    two = "errors hold the seeds' initial weights, order of clips, triplets and choice among 2 stored views"
    shared = "the drawing of the stored views themselves, which all seeds share"
    assert words([]) == f"{two}; not {shared} nor other training or validation clips"
    one = "errors hold the seeds' initial weights, order of clips and triplets"
    assert words(["stream.views=1"]) == f"{one}; not {shared} nor other training or validation clips"
    assert "and draw of the training clips; not" in words(["data.fraction=0.5"])
    assert "draw of the training clips where it is a share of them; not" in words(["data.fraction=0.5"], [])
    assert words(["stream.cache=null"]).startswith(f"{one.replace(' and', ',')} and augmented views; not other")
    for render in (formats.terminal, formats.markdown, formats.latex):
        assert two in render(shown(losses()))


def test_a_table_of_an_earlier_version_shows_no_difference():
    """Its JSON says nothing of how rows were run."""
    older = shown(losses())
    for row in older["rows"]:
        del row["differences"], row["incomparable"]
    del older["setting"], older["errors"]
    for column in older["columns"]:
        column["compare"] = True
    header, lines = formats.grid(older)
    assert "difference" not in header and header[1] == "top-1 (%), paper" and len(lines) == 5
    assert "_difference" not in formats.csv_text(older) and "86.1" in formats.markdown(older)
