"""Files over HTTP: names, ranges, retries, and servers that fail, are slow, cut off or give no ranges."""

import threading

import fsspec
import pytest
from http_files import Files, serve

from objadapt.config import Data
from objadapt.data import remote
from objadapt.data.class_folders import read_class_folders
from objadapt.data.decode_error import DecodeError
from objadapt.data.downloads import Downloads
from objadapt.data.html_index import links_of
from objadapt.data.local_copy import local_copy, local_file
from objadapt.data.remote import RemoteError, exists, fetch, list_names, name_below, read_bytes, read_range, url_below
from objadapt.errors import InputError

ODD = ["a b.mp4", "50%.mp4", "50%25.mp4", "#1.mp4", "who?.mp4", "ä/ö ü.mp4", "日本.mp4", "a+b&c=d;e.mp4", "x::y.mp4"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.02))
    monkeypatch.setattr(remote, "SILENT_SECONDS", 1)
    remote.known_version.cache_clear()
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as running:
        yield running


def put(files: Files, name: str, content: bytes = b"content") -> str:
    path = files.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return files.url(name)


@pytest.mark.parametrize("name", ODD)
def test_every_name_is_found_and_read(files, name):
    put(files, f"data/{name}", name.encode())
    root = files.url("data")
    assert list_names(root) == [name]
    assert url_below(root, name) == files.url(f"data/{name}") and name_below(root, url_below(root, name)) == name
    assert read_bytes(url_below(root, name)) == name.encode()
    with local_file(url_below(root, name)) as local, open(local, "rb") as file:
        assert file.read() == name.encode()


def test_class_folders_over_http_are_those_on_disk(files):
    for split in ("train", "val"):
        for name in ("Holding [something]", "50% #1"):
            for number in range(2):
                put(files, f"{split}/{name}/clip {number}.mp4")
    put(files, "train/50% #1/.hidden.mp4")
    here = read_class_folders(Data(format="class_folders", root=str(files.folder)))
    there = read_class_folders(Data(format="class_folders", root=files.url()))
    assert there.classes == here.classes
    columns = ["clip_id", "split", "label"]
    assert there.rows[columns].sort_values("clip_id").values.tolist() == (
        here.rows[columns].sort_values("clip_id").values.tolist()
    )
    assert all(path.startswith(files.address) and "%23" in path for path in there.rows["path"] if "50" in path)


def test_an_index_page_leads_neither_out_nor_up():
    links = [
        "a.mp4",
        "b/",
        "../up",
        "/other/x",
        "http://else/y",
        "?C=M",
        "deep/er.mp4",
        "a.mp4",
        "..%2fz",
        ".",
        "http://[",
    ]
    page = "".join(f"<A HREF='{link}'>x</A>" for link in links).encode() + b"\xff<a>none</a>"
    assert links_of(page, "http://host/data/") == ["a.mp4", "b/"]


def test_a_server_that_fails_is_asked_again(files):
    url = put(files, "clip.mp4", b"x" * 1000)
    files.fail["clip.mp4"] = 2
    assert read_bytes(url) == b"x" * 1000 and files.asked["GET", "clip.mp4"] == 3
    files.fail["clip.mp4"] = 99
    with pytest.raises(RemoteError, match="503.*after 3 attempts") as failed:
        read_bytes(url)
    assert failed.value.tried and not failed.value.absent


def test_what_is_not_there_is_not_asked_for_again(files):
    assert not exists(files.url("nowhere.mp4"))
    with pytest.raises(DecodeError, match="^fetch: no such file$"), local_file(files.url("nowhere.mp4")):
        pass
    assert files.asked["HEAD", "nowhere.mp4"] == 2 and exists(files.url(""))


def test_a_server_that_nobody_hears_is_told_as_such():
    for url in ("http://127.0.0.1:9/a.mp4", "nosuchprotocol://x/a.mp4"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote, "WAITS", (0.01,))
            with pytest.raises(RemoteError) as failed:
                exists(url)
        assert "\n" not in str(failed.value) and str(failed.value)


def test_a_body_that_is_cut_off_is_never_taken_for_the_file(files, tmp_path):
    url = put(files, "clip.mp4", b"x" * 300_000)
    files.short["clip.mp4"] = 200_000
    kept = Downloads(tmp_path / "kept", 10**7)
    with pytest.raises(DecodeError, match="^fetch: .*after 3 attempts"), local_copy(url, kept):
        pass
    assert not list((tmp_path / "kept").glob("*.*"))
    files.short.clear()
    with local_copy(url, kept) as copy, open(copy.path, "rb") as file:
        assert file.read() == b"x" * 300_000 and copy.fetched == 300_000
    with local_copy(url, kept) as copy:
        assert copy.fetched == 0


def test_a_wrong_length_is_refused(files, tmp_path):
    url = put(files, "clip.mp4", b"x" * 1000)
    for told in (999, 1001):
        with pytest.raises(RemoteError, match=f"1000 bytes came of {told}"):
            fetch(url, tmp_path / "to", told)
    assert fetch(url, tmp_path / "to", 1000) == 1000


def test_a_slow_server_is_waited_for_as_long_as_it_gets_on(files, tmp_path):
    url = put(files, "clip.mp4", b"x" * 10_000)
    files.chunk, files.pause = 1000, 0.2  # two seconds in all, each below SILENT_SECONDS
    signs = []
    assert fetch(url, tmp_path / "to", 10_000, lambda: signs.append(threading.get_ident())) == 10_000 and signs
    files.chunk, files.pause = 10_000, 3.0
    with pytest.raises(RemoteError, match="imeout.*after 3 attempts"):
        fetch(url, tmp_path / "to", 10_000)


def test_a_new_version_is_another_file(files, tmp_path):
    kept = Downloads(tmp_path / "kept", 10**7)
    for content in (b"a" * 100, b"b" * 100):
        url = put(files, "clip.mp4", content)
        remote.known_version.cache_clear()  # as the next job does
        with local_copy(url, kept) as copy, open(copy.path, "rb") as file:
            assert file.read() == content and copy.fetched == 100


def test_ranges(files):
    content = bytes(range(256)) * 10
    url = put(files, "x.tar", content)
    for start, stop in ((0, 1), (0, 100), (500, 1012), (2500, 9999), (2560, 2600)):
        assert read_range(url, start, stop) == content[start:stop]
    assert files.sent["x.tar"] < 700


def test_a_server_without_ranges_is_named_and_sends_no_whole_file_for_a_part(files):
    url = put(files, "x.tar", b"x" * 20_000_000)
    files.ranges = False
    with pytest.raises(RemoteError, match="no HTTP range requests"):
        read_range(url, 512, 1024)
    with local_file(put(files, "clip.mp4")) as local, open(local, "rb") as file:
        assert file.read() == b"content"  # whole files need none


def test_what_a_server_says_holds_no_secret(files):
    secret = "0123abcd"
    for field in ("X-Amz-Signature", "Signature", "sig", "token", "X-Goog-Credential"):
        files.fail["a.mp4"] = 99
        put(files, "a.mp4")
        with pytest.raises(DecodeError) as failed, local_file(f"{files.url('a.mp4')}?{field}={secret}&x=1"):
            pass
        assert secret not in str(failed.value) and any(secret in query for query in files.queries)


def test_folders_without_end_are_refused(files, monkeypatch):
    put(files, "loop/a.mp4")
    (files.folder / "loop/again").symlink_to(files.folder / "loop")
    with pytest.raises(RemoteError, match="have no end"):
        list_names(files.url("loop"))


def test_a_missing_folder_ends_in_one_line(files):
    with pytest.raises(InputError, match=r"^data\.root: no train folder in http"):
        read_class_folders(Data(format="class_folders", root=files.url("nowhere")))


def test_a_file_replaced_by_one_of_its_size_is_another_also_where_storage_has_no_tag_of_content():
    files = fsspec.filesystem("memory")
    files.pipe("/replaced.mp4", b"one")
    before = remote.version("memory://replaced.mp4")
    assert remote.version("memory://replaced.mp4") == before
    files.pipe("/replaced.mp4", b"two")
    assert remote.version("memory://replaced.mp4") != before
