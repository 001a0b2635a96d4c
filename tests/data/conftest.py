"""Small real videos for handmade annotation files."""

import shutil

import pytest


@pytest.fixture
def video(shared):
    """A function that puts a small real video at a path (the suffix need not fit: readers go by content)."""

    def put(path, source="clips/variants/h264_1fps_5frames.mp4"):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / source, path)

    return put
