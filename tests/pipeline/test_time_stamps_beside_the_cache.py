"""Decode tasks keep the time stamps of long videos beside the feature cache,
or in the output folder where there is none.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from objadapt.data import clip as data_clip
from objadapt.data import video_file
from objadapt.evaluation.mask_video import write_video
from objadapt.pipeline.decoding import DecodeGrids


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_where_they_are_kept(tiny_plan, tmp_path, monkeypatch, cached, train):
    monkeypatch.setattr(video_file, "LONG_BYTES", 0)
    data_clip._probe_once.cache_clear()
    video = tmp_path / "long.mp4"
    write_video(video, np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8), 10)
    cache = (f"stream.cache={tmp_path}/features",) if cached else ()
    config = tiny_plan(f"output={tmp_path}/outputs", *cache).config
    decode = DecodeGrids(None, None, config, (4,), 32, True)
    clip = pd.Series({"path": str(video), "start_s": 1.0, "end_s": 2.0})
    frames, short, *_ = decode.clip(clip, 0, 0, train)
    assert frames.shape == (4, 32, 32, 3) and short == [False]
    folder = Path(tmp_path) / ("features" if cached else "outputs") / "time_stamps"
    assert len(list(folder.glob("*.npz"))) == 1


def test_a_folder_whose_name_begins_with_a_tilde(tiny_plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        DecodeGrids(None, None, tiny_plan("output=./~outputs").config, (4,), 32, True).time_stamps
        == tmp_path / "~outputs" / "time_stamps"
    )
