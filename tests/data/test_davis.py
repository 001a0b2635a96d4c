"""DAVIS folders: what is listed is found, ids survive writing,
and what is not an indexed PNG is refused with the remedy.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objadapt.data import toy
from objadapt.data.davis import davis_sequences, palette, read_ids, sorted_files, unpaired, write_ids
from objadapt.errors import InputError


@pytest.fixture
def root(tmp_path) -> Path:
    """Two sequences of three frames: `bear` with masks in both kinds of annotation, `swan` with pictures only."""
    for name in ("bear", "swan"):
        folder = tmp_path / "JPEGImages/480p" / name
        folder.mkdir(parents=True)
        for frame in (2, 0, 1):
            Image.new("RGB", (8, 6)).save(folder / f"{frame:05d}.jpg")
    for kind, value in (("Annotations", 1), ("Annotations_unsupervised", 2)):
        folder = tmp_path / kind / "480p/bear"
        folder.mkdir(parents=True)
        for frame in range(3):
            write_ids(folder / f"{frame:05d}.png", np.full((6, 8), value, np.uint8))
    (tmp_path / "ImageSets/2017").mkdir(parents=True)
    (tmp_path / "ImageSets/2017/val.txt").write_text("swan\nbear\n\n")
    return tmp_path


def test_sequences_in_the_order_of_the_names_file(root):
    swan, bear = davis_sequences(root)
    assert (swan.name, bear.name) == ("swan", "bear")
    assert [path.name for path in bear.frames] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert [path.name for path in bear.annotations] == ["00000.png", "00001.png", "00002.png"]
    assert len(swan.frames) == 3 and swan.annotations == ()


def test_which_annotations(root):
    """The unsupervised ones first, unless asked otherwise: DAVIS numbers objects differently in the two."""
    assert read_ids(davis_sequences(root)[1].annotations[0]).max() == 2
    assert read_ids(davis_sequences(root, annotations=("Annotations",))[1].annotations[0]).max() == 1
    (root / "Annotations_unsupervised").rename(root / "other")
    assert read_ids(davis_sequences(root)[1].annotations[0]).max() == 1


def test_names_file_of_its_own(root, tmp_path):
    names = tmp_path / "mine.txt"
    names.write_bytes("\ufeffbear\r\n".encode())
    assert [sequence.name for sequence in davis_sequences(root, names)] == ["bear"]


def test_files_that_macos_leaves_are_no_frames(root):
    for name in ("._00000.jpg", ".DS_Store", "Thumbs.db"):
        (root / "JPEGImages/480p/bear" / name).write_bytes(b"\0")
    (root / "JPEGImages/480p/bear/@eaDir").mkdir()
    found = sorted_files(root / "JPEGImages/480p/bear", ".jpg")
    assert [path.name for path in found] == ["00000.jpg", "00001.jpg", "00002.jpg"]


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".JPEG", ".png", ".PNG"])
def test_frames_of_other_copies(root, suffix, caplog):
    folder = root / "JPEGImages/480p/bear"
    for path in list(folder.iterdir()):
        path.rename(path.with_suffix(suffix))
    (root / "Annotations_unsupervised/480p/bear/00001.png").rename(
        root / "Annotations_unsupervised/480p/bear/00001.PNG"
    )
    bear = davis_sequences(root)[1]
    assert [path.name for path in bear.frames] == [f"{number:05d}{suffix}" for number in range(3)]
    assert [path.stem for path in bear.annotations] == [path.stem for path in bear.frames] and not caplog.text
    Image.new("RGB", (8, 6)).save(folder / "00003.bmp")
    assert len(davis_sequences(root)[1].frames) == 3
    assert f"{folder}: 1 files do not end in .jpg, .jpeg, .png: 00003.bmp" in caplog.text


def test_a_sequence_of_other_pictures_is_not_one_of_masks_alone(root):
    for path in list((root / "JPEGImages/480p/bear").iterdir()):
        path.rename(path.with_suffix(".webp"))
    with pytest.raises(InputError, match="480p/bear: no file ends in .jpg, .jpeg, .png, but 00000.webp, 00001.webp"):
        davis_sequences(root)


def test_two_frames_of_one_name(root):
    folder = root / "JPEGImages/480p/bear"
    Image.new("RGB", (8, 6)).save(folder / "00001.png")
    with pytest.raises(InputError, match=f"{folder}/00001.jpg and {folder}/00001.png: files of one name"):
        davis_sequences(root)


@pytest.mark.parametrize("name", ["{}", "frame_{}", "{}_left", "cam2-{}"])
def test_numbers_without_zeros_are_in_the_order_of_numbers(tmp_path, name):
    for number in (10, 9, 100, 1):
        Image.new("RGB", (8, 6)).save(tmp_path / f"{name.format(number)}.jpg")
    assert [path.stem for path in sorted_files(tmp_path, ".jpg")] == [name.format(number) for number in (1, 9, 10, 100)]


@pytest.mark.parametrize(
    "content, named",
    [
        ("", "lists no sequence"),
        ("bear\nbear\n", "twice"),
        ("bear\nwolf\n", "wolf"),
        ("../bear\n", "leads out"),
        ("/bear\n", "is a path"),
        ("bear\nbear/\n", "'bear/' is not how a folder is called; write 'bear'"),
        ("./bear\n", "'./bear' is not how a folder is called; write 'bear'"),
        (".\n", "'.' is not how a folder is called"),
        ("b" * 300, "no frame in .*bbb"),
        (None, "No such file"),
    ],
)
def test_wrong_names(root, content, named):
    names = root / "names.txt"
    if content is not None:
        names.write_text(content)
    with pytest.raises(InputError, match=named) as error:
        davis_sequences(root, names)
    assert "names.txt" in str(error.value) and "\n" not in str(error.value)


def test_no_text_and_no_folder(root):
    with pytest.raises(InputError, match="00000.jpg: not a text file"):
        davis_sequences(root, root / "JPEGImages/480p/bear/00000.jpg")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        davis_sequences(root / "nowhere")


@pytest.mark.parametrize("shape", [(6, 8), (1, 1), (480, 854)])
def test_ids_survive(tmp_path, shape):
    ids = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_ids(tmp_path / "00000.png", ids)
    np.testing.assert_array_equal(read_ids(tmp_path / "00000.png"), ids)
    assert [path.name for path in tmp_path.iterdir()] == ["00000.png"]
    with Image.open(tmp_path / "00000.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(image.convert("RGB"), palette()[ids])


@pytest.mark.parametrize("ids", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8)])
def test_only_ids_are_written(tmp_path, ids):
    with pytest.raises(ValueError):
        write_ids(tmp_path / "00000.png", ids)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_fewer_bits_a_pixel(tmp_path, depth):
    """Other tools write small palettes with 1, 2 or 4 bits a pixel."""
    ids = np.random.default_rng(0).integers(0, 2**depth, (7, 9), dtype=np.uint8)
    image = Image.fromarray(ids)
    image.putpalette(palette()[: 2**depth].tobytes())
    image.save(tmp_path / "small.png", bits=depth)
    np.testing.assert_array_equal(read_ids(tmp_path / "small.png"), ids)


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_a_picture_of_another_format_is_no_png_by_its_name(tmp_path, kind):
    """A GIF's writer may give its colours other numbers."""
    image = Image.new("P", (8, 6))
    image.putpalette(palette().tobytes())
    image.save(tmp_path / "mask.png", format=kind)
    with pytest.raises(InputError, match=f"mask.png: {kind}, not an indexed PNG, whatever its name ends in"):
        read_ids(tmp_path / "mask.png")


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "I;16"])
def test_not_indexed(tmp_path, mode):
    Image.new(mode, (8, 6)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=f"mask.png: an image of mode {mode}, not an indexed PNG; write ids"):
        read_ids(tmp_path / "mask.png")


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "empty", "folder"])
def test_unreadable(tmp_path, damage):
    path = tmp_path / "mask.png"
    write_ids(path, np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8))
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"text": b"not a picture", "cut": content[: len(content) // 2], "empty": b""}[damage])
    with pytest.raises(InputError, match="mask.png: .*; give an indexed PNG of object ids") as error:
        read_ids(path)
    assert "\n" not in str(error.value)


def test_toy_data(tmp_path):
    options = toy.Options(train=16, validation=16, resolution=32, length=3, davis=2)
    list(toy.make(tmp_path / "toy", options, workers=1))
    sequences = davis_sequences(tmp_path / "toy/davis")
    assert [len(one.frames) for one in sequences] == [len(one.annotations) for one in sequences] == [3, 3]
    assert read_ids(sequences[0].annotations[0]).shape == (32, 32)


def test_real_files(shared):
    sequences = davis_sequences(shared / "davis")
    assert len(sequences) == 8 and all(len(one.frames) == len(one.annotations) >= 40 for one in sequences)
    path = sequences[0].annotations[0]
    assert np.unique(read_ids(path)).tolist() == [0, 1]
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.reshape(image.getpalette(), (256, 3)), palette())


def test_davis_2016_form_is_refused(shared):
    """As ids, 0 and 255 would be a ground truth without objects; the error says what to do."""
    path = next((shared / "davis/Annotations_davis2016_raw/480p/car-shadow").glob("*.png"))
    with pytest.raises(InputError, match="mode L, not an indexed PNG.*255 -> 1"):
        read_ids(path)


def test_a_mask_belongs_to_the_frame_of_its_number():
    def paths(*names: str) -> tuple[Path, ...]:
        return tuple(Path("folder") / name for name in names)

    frames = paths("00000.jpg", "00001.jpg", "00010.jpg")
    assert unpaired(frames, paths("00000.png", "00001.png", "00010.png")) is None
    assert unpaired(frames, paths("mask_0.png", "mask_1.png", "mask_10.png")) is None
    assert unpaired(paths("a.jpg", "b.jpg"), paths("a.png", "b.png")) is None
    assert unpaired(paths("001_rgb.jpg", "002_rgb.jpg"), paths("001_mask.png", "002_mask.png")) is None
    assert unpaired(paths("001_rgb.jpg", "002_rgb.jpg"), paths("001_mask.png", "003_mask.png"))
    assert unpaired(frames, paths("00000.png")) == "has 3 frames and 1 masks"
    shifted = unpaired(frames, paths("00001.png", "00010.png", "00011.png"))
    assert shifted == "has the frame 00000.jpg and the mask 00001.png in one place"
    assert "00001.jpg and the mask 00002.png" in unpaired(frames, paths("00000.png", "00002.png", "00010.png"))
    assert "b.jpg and the mask c.png" in unpaired(paths("a.jpg", "b.jpg"), paths("a.png", "c.png"))
