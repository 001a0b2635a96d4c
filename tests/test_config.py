"""The config: wrong keys, types and values name their key in one line.

Files, overrides and defaults do what they say.
"""

from pathlib import Path

import pytest

from objadapt.config import Experiment, Section
from objadapt.config_file import load_config, override, parse_override
from objadapt.config_methods import LinearProbe, ObjectCentric, Outside
from objadapt.declared import CONFIGS
from objadapt.errors import InputError


def sections(
    section: type[Section] = Experiment, prefix: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], type[Section]]]:
    """(path, section) of the experiment and of all sections in it, however deep."""
    found = [(prefix, section)]
    for name, field in section.model_fields.items():
        if name == "method":
            found += sections(ObjectCentric, (*prefix, name))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += sections(field.annotation, (*prefix, name))
    return found


def error_of(*overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_config(None, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "path, section", sections(), ids=lambda value: ".".join(value) if isinstance(value, tuple) else None
)
def test_an_unknown_key_is_named_with_those_that_are_known(path, section):
    message = error_of(f"{'.'.join((*path, 'lerning_rate'))}=1")
    assert f"{'.'.join((*path, 'lerning_rate'))}: unknown key" in message
    known = message.partition("known here: ")[2].split(", ")
    assert known == list(section.model_fields)


def test_all_sections_are_looked_at():
    assert {".".join(path) for path, _ in sections()} >= {
        "",
        "method",
        "method.slots",
        "method.losses.temporal",
        "method.losses.distillation",
        "tracking",
    }


def test_another_method_stands_in_place_of_the_one_of_the_file():
    """Its settings are not the other's; those that are given beside its name are refused."""
    tree = {"method": {"width": 64, "slots": {"number": 3}}, "seed": 1}
    assert load_config(None, ["method.name=linear_probe"]).method == LinearProbe()
    changed = override(tree, ["method.name=linear_probe"])
    assert changed == {"method": {"name": "linear_probe"}, "seed": 1}
    assert override(tree, ["method.module=a.b"])["method"] == {"name": "module", "module": "a.b"}
    assert load_config(None, ["method.module=a.b", "method.settings.depth=3"]).method == Outside(
        module="a.b", settings={"depth": 3}
    )
    assert override(tree, ["method.name=object_centric"])["method"]["width"] == 64, "it is that one already"
    own = {"method": {"module": "a.b", "settings": {"depth": 3}}}
    assert override(own, ["method.module=a.b"])["method"]["settings"] == {"depth": 3}
    assert override(own, ["method.module=c.d"])["method"] == {"name": "module", "module": "c.d"}
    assert "method.width: unknown key; known here: label_smoothing, name, learning_rate" in error_of(
        "method.name=linear_probe", "method.width=64"
    )


@pytest.mark.parametrize(
    "override, key",
    [
        ("training.lr=fast", "training.lr"),
        ("training.lr=0", "training.lr"),
        ("training.lr=.nan", "training.lr"),
        ("training.batch_size=64.0", "training.batch_size"),
        ("training.batch_size='64'", "training.batch_size"),
        ("training.batch_size=1", "training.batch_size"),
        ("training.epochs=yes", "training.epochs"),
        ("training.epochs=0", "training.epochs"),
        ("training.clip_norm=0", "training.clip_norm"),
        ("training.clips_per_class=1", "training.clips_per_class"),
        ("method.slots.number=0", "method.slots.number"),
        ("method.slots.number=many", "method.slots.number"),
        ("method.slots.number=4.5", "method.slots.number"),
        ("method.slots.number=true", "method.slots.number"),
        ("method.interval=0", "method.interval"),
        ("method.interval=8", "method.interval"),
        ("method.interval=some", "method.interval"),
        ("method.temporal=attn", "method.temporal"),
        ("method.heads=0", "method.heads"),
        ("sampling.frames=0", "sampling.frames"),
        ("sampling.frames=1", "sampling.frames"),
        ("sampling.mode=random", "sampling.mode"),
        ("method.losses.distillation.slot_temperature=-0.1", "method.losses.distillation.slot_temperature"),
        ("method.losses.distillation.contrast_temperature=0", "method.losses.distillation.contrast_temperature"),
        ("method.losses.temporal.weight=-1", "method.losses.temporal.weight"),
        ("method.losses.temporal.weight=.nan", "method.losses.temporal.weight"),
        ("data.format=ssv2", "data.format"),
        ("data.root=5", "data.root"),
        ("data.root=null", "data.root"),
        ("data.fraction=0", "data.fraction"),
        ("data.fraction=1.01", "data.fraction"),
        ("evaluation.spatial_crops=2", "evaluation.spatial_crops"),
        ("training.min_lr=1e-3", "training.min_lr"),
        ("stream.num_workers=3", "stream.num_workers"),
        ("stream.num_workers=1-3", "stream.num_workers"),  # 64 clips are not dealt to 3 evenly
        ("stream.num_workers=4-2", "stream.num_workers"),
        ("stream.num_workers=0-2", "stream.num_workers"),
        ("stream.num_workers=many", "stream.num_workers"),
        ("stream.checkpoint_minutes=0", "stream.checkpoint_minutes"),
        ("stream.encoder_cpus=0", "stream.encoder_cpus"),
        ("output=s3://bucket/runs", "output"),
        ("seed=-1", "seed"),
        ("name=my run", "name"),
        ("name=../elsewhere", "name"),
        ("name=", "name"),
        ("name=5", "name"),
        ("training.clips_per_class=3", "training.clips_per_class"),
        ("method=3", "method"),
        ("method.name=foo", "method.name"),
        ("method.module=not-a-name", "method.module"),
        ("method.module=objadapt.methods.linear_probe", "method.module"),
        ("method.slots.number.x=3", "method.slots.number"),
    ],
)
def test_a_wrong_value_names_its_key(override, key):
    assert key in error_of(override)


def test_remedies_are_named():
    assert "method.temporal=none" in error_of("sampling.frames=1")
    assert "1 .. 7 or 'all'" in error_of("method.interval=8")
    assert "1 .. 3 or 'all'" in error_of("method.interval=4", "sampling.frames=4")
    assert "'none'" in error_of("method.slots.number=0")
    assert "(got 'fast')" in error_of("training.lr=fast")


def test_all_problems_are_told_at_once():
    message = error_of("training.lr=fast", "sampling.frames=0", "data.rot=x")
    assert all(key in message for key in ("training.lr", "sampling.frames", "data.rot"))


def test_what_is_allowed_at_the_edges():
    # one change: first frame to last
    assert load_config(None, ["sampling.frames=4", "method.interval=3"]).method.dt(4) == 3
    assert load_config(None, ["sampling.frames=1", "method.temporal=none"]).sampling.frames == 1
    assert load_config(None, ["sampling.frames=1", "method.temporal=attention"]).sampling.frames == 1
    assert load_config(None, ["method.interval=99", "method.temporal=none"]).method.interval == 99  # unused there
    assert load_config(None, ["method.slots.number=none"]).method.slots.number == "none"
    assert load_config(None, ["method.slots.number=1"]).method.slots.number == 1
    assert load_config(None, ["method.interval=all"]).method.interval == "all"
    assert load_config(None, ["training.clip_norm=null"]).training.clip_norm is None
    smallest = ["training.batch_size=2", "training.clips_per_class=2", "stream.num_workers=2"]
    assert load_config(None, smallest).training.batch_size == 2


@pytest.mark.parametrize("frames, interval", [(2, 1), (3, 1), (4, 1), (7, 1), (8, 2), (16, 4), (32, 8)])
def test_the_default_interval_is_a_quarter_of_the_clip(frames, interval):
    assert load_config(None, [f"sampling.frames={frames}"]).method.dt(frames) == interval


@pytest.mark.parametrize(
    "text, keys, value",
    [
        ("training.lr=1e-4", ["training", "lr"], 1e-4),
        ("training.lr=-2E+3", ["training", "lr"], -2000.0),
        ("training.lr=1.5e-4", ["training", "lr"], 1.5e-4),
        ("a.b.c=null", ["a", "b", "c"], None),
        ("a=''", ["a"], ""),
        ("a=~", ["a"], None),
        ("data.train=#list.csv", ["data", "train"], "#list.csv"),
        (" a =x=y", ["a"], "x=y"),
        ("name=1e-4x", ["name"], "1e-4x"),
        ("flag=false", ["flag"], False),
        ("list=[1, 2]", ["list"], [1, 2]),
        ("name=2026-02-28", ["name"], "2026-02-28"),  # a word: nothing here is a date
        ("name=2026-02-30", ["name"], "2026-02-30"),
        ("name=2026-02-28 10:00:00", ["name"], "2026-02-28 10:00:00"),
        ("output=/data/50% of #1 ", ["output"], "/data/50% of #1"),  # no comment
        ("output='/data/50% of #1 '", ["output"], "/data/50% of #1 "),
    ],
)
def test_overrides_are_yaml(text, keys, value):
    assert parse_override(text) == (keys, value)
    assert type(parse_override(text)[1]) is type(value)


ODD_TAGS = ["!!python/object:os.system x", "!!int x", "!!float ''", "!!bool x", "!!timestamp x", "0b_", "[" * 5000]


@pytest.mark.parametrize(
    "text",
    ["", "=", "=3", "a=", "a= ", "training.lr", "training.lr 3", "a=[1", "a={", *(f"a={tag}" for tag in ODD_TAGS)],
)
def test_what_is_no_override(text):
    with pytest.raises(InputError, match="^override "):
        parse_override(text)


def test_later_overrides_win_and_the_file_loses(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("name: from_file\ntraining:\n  lr: 1e-3\n  epochs: 5\n")
    config = load_config(file, ["training.lr=1e-4", "training.lr=2e-4"])
    assert (config.name, config.training.lr, config.training.epochs) == ("from_file", 2e-4, 5)
    with pytest.raises(InputError, match="training.lr is a value, not a section"):
        load_config(file, ["training.lr.x=3"])


@pytest.mark.parametrize(
    "content",
    [b"- a\n- b\n", b"just words", b"a: [1", b"\xff\xfe\x00", b"\ta: 1", b"? [1]\n: 2\n", b"1: 2\n", b"2026-02-30: 2\n"]
    + [f"a: {tag}".encode() for tag in ODD_TAGS],
)
def test_files_that_are_no_config(tmp_path, content):
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_config(file)
    assert "\n" not in str(caught.value) and "c.yaml" in str(caught.value)


def test_absent_and_empty_files(tmp_path):
    with pytest.raises(InputError, match="absent.yaml"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="directory"):
        load_config(tmp_path)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "empty.yaml") == load_config() == Experiment()


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError):
        Experiment().training.lr = 1.0


def test_a_range_of_workers():
    stream = load_config(None, ["stream.num_workers=1-4", "training.batch_size=24"]).stream
    assert stream.worker_range == (1, 4)
    assert [load_config(None, [f"stream.num_workers={n}"]).stream.worker_range for n in (0, 1, 2)] == [
        (1, 1),
        (1, 1),
        (2, 2),
    ]


def test_a_file_says_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "root.yaml").write_text("name: root\ntraining: {epochs: 5, lr: 1e-3}\nmethod: {width: 64}\n")
    (tmp_path / "middle.yaml").write_text("base: far/root.yaml\ntraining: {epochs: 7}\nmethod: {slots: {number: 4}}\n")
    (tmp_path / "top.yaml").write_text("base: middle.yaml\nname: top\nmethod: {name: object_centric, width: 32}\n")
    config = load_config(tmp_path / "top.yaml", ["training.batch_size=8"])
    assert (config.name, config.training.epochs, config.training.lr, config.training.batch_size) == ("top", 7, 1e-3, 8)
    assert (config.method.width, config.method.slots.number) == (32, 4)
    (tmp_path / "probe.yaml").write_text("base: top.yaml\nmethod: {name: linear_probe}\n")
    assert load_config(tmp_path / "probe.yaml").method == LinearProbe(), "the settings of another method do not stay"
    (tmp_path / "typo.yaml").write_text("base: top.yaml\ntraining: {epoch: 3}\n")
    with pytest.raises(
        InputError, match="typo.yaml over top.yaml over middle.yaml over root.yaml: training.epoch: unkn"
    ):
        load_config(tmp_path / "typo.yaml")
    with pytest.raises(InputError, match="^base: unknown key"):
        load_config(tmp_path / "top.yaml", ["base=root.yaml"])


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("a.yaml", "a.yaml: base a.yaml: leads back to itself; take one base out"),
        ("b.yaml", "b.yaml: base ./a.yaml: leads back to itself"),
        ("gone.yaml", "a.yaml: base gone.yaml: No such file or directory; give an existing YAML file"),
        (".", "a.yaml: base .: Is a directory"),
        ("list.yaml", "base list.yaml: must be a mapping of keys, not list"),
        ("''", "base: '' is no file; give the path of a YAML file, relative to this one"),
        ("[b.yaml]", "base: ['b.yaml'] is no file"),
        ("3", "base: 3 is no file"),
        ('"a\\0b"', "embedded null byte; give the path of a YAML file"),
        ("~nobody-here/b.yaml", "a.yaml: base ~nobody-here/b.yaml: '~nobody-here/b.yaml': no home of '~nobody-here'"),
        ("loop.yaml", "a.yaml: base loop.yaml: Symlink loop from "),
    ],
)
def test_bases_that_are_none(tmp_path, base, said):
    (tmp_path / "a.yaml").write_text(f"base: {base}\n")
    (tmp_path / "b.yaml").write_text("base: ./a.yaml\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "a.yaml")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_needs_classes_is_refused_where_a_method_has_none():
    for given in ("training.patience=2", "training.mixup=0.2", "training.cutmix=1.0", "training.class_balance=loss"):
        name = given.partition("=")[0]
        told = error_of("method.name=smtc", "data.holdout=0.2", given)
        assert told.endswith(f"{name}: smtc learns without classes; leave it out"), told


def test_pruned_keys_are_refused():
    assert "keys of the last attention are not pruned" in error_of("backbone.features=keys", "backbone.pruning=4")


def test_a_rule_about_several_keys_names_the_file_only_where_the_file_breaks_it(tmp_path):
    with pytest.raises(InputError, match="^training.mixup: "):
        load_config(CONFIGS / "ssl_uvos.yaml", ["training.mixup=0.2"])
    (tmp_path / "mixed.yaml").write_text("method: {name: ssl_uvos}\ntraining: {mixup: 0.2}\n")
    with pytest.raises(InputError, match="mixed.yaml: training.mixup: "):
        load_config(tmp_path / "mixed.yaml", ["training.epochs=3"])


def test_another_backbone_library_leaves_the_name_and_the_weights_of_the_first(tmp_path):
    """The tag of CLIP says nothing to timm, and small_clip has weights of its own."""
    own = CONFIGS / "own_videos.yaml"
    assert load_config(own).backbone.pretrained == "openai"
    small = load_config(own, ["backbone.library=small_clip"]).backbone
    assert (small.library, small.pretrained, small.weights) == ("small_clip", None, None)
    timm = load_config(own, ["backbone.weights=vit.pt", "backbone.name=test_vit", "backbone.library=timm"]).backbone
    assert (timm.name, timm.pretrained, Path(timm.weights).name) == ("test_vit", None, "vit.pt")
    assert load_config(own, ["backbone.name=ViT-L-14"]).backbone.pretrained == "openai", "the library is the same"
    (tmp_path / "small.yaml").write_text(f"base: {own}\nbackbone: {{library: small_clip}}\n")
    assert load_config(tmp_path / "small.yaml").backbone == small


def test_an_override_replaces_no_section_of_the_file():
    """Whose other keys would go without a word."""
    with pytest.raises(InputError, match="would replace the whole section; give its keys: training.epochs=..."):
        load_config(CONFIGS / "toy.yaml", ["training={epochs: 3}"])
    with pytest.raises(InputError, match="give its keys: method.slots.KEY=..."):
        load_config(CONFIGS / "toy.yaml", ["method.slots={}"])
