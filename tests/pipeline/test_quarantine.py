"""Quarantine: a reason survives the trip as bytes, a clip counts once however often it comes, padding never counts."""

import json

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from objadapt.pipeline.quarantine import DECODERS, REASON_BYTES, Notices, decode_reason, encode_reason


def batch(*clips: tuple[int, bool, bool, str, str]) -> dict[str, torch.Tensor]:
    """Columns of (row, valid, short, decoder, reason)."""
    rows, valid, short, decoder, reasons = zip(*clips, strict=False)
    return {
        "row": torch.tensor(rows),
        "valid": torch.tensor(valid),
        "short": torch.tensor(short),
        "decoder": torch.tensor([DECODERS.index(name) for name in decoder], dtype=torch.uint8),
        "reason": torch.from_numpy(np.stack([encode_reason("decode", reason) for reason in reasons])),
    }


GOOD, SHORT = (True, False, "decord", ""), (True, True, "pyav", "")
BAD = (False, False, "none", "frame 3 is damaged")
PAD = (-1, False, False, "none", "")


@given(st.sampled_from(["fetch", "open", "demux", "decode", "sampling"]), st.text(max_size=400))
def test_a_reason_survives_as_bytes(stage, reason):
    code = encode_reason(stage, reason)
    assert code.dtype == np.uint8 and code.shape == (REASON_BYTES,)
    got_stage, got = decode_reason(code)
    whole = " ".join(reason.split())
    assert got_stage == stage and "\n" not in got
    if len(f"{stage}|{whole}".encode()) <= REASON_BYTES and "\0" not in whole:
        assert got == whole
    else:
        assert whole.startswith(got) or "\0" in whole  # cut at a whole character


def test_a_reason_may_hold_the_separator_and_other_scripts():
    assert decode_reason(encode_reason("open", "a|b: 视频 ü")) == ("open", "a|b: 视频 ü")
    assert decode_reason(np.zeros(REASON_BYTES, np.uint8)) == ("", "")


def every(clips) -> torch.Tensor:
    return torch.ones(len(clips["row"]), dtype=torch.bool)


def test_a_clip_counts_once_and_padding_never():
    notices, clips = Notices(), batch((4, *GOOD), (7, *SHORT), (2, *BAD), PAD)
    notices.update(clips, every(clips))
    for _ in range(2):  # later epochs
        notices.update(clips, None)
    more = batch((5, *GOOD), (6, *SHORT), PAD)
    notices.update(more, torch.tensor([True, False, True]))  # the second is a further view of a clip
    assert notices.counts() == {"quarantined": 1, "short_clips": 1, "decoded_by_decord": 2, "decoded_by_pyav": 1}
    assert notices.quarantined == {2: ("decode", "frame 3 is damaged")}


def test_a_clip_that_breaks_later_is_quarantined_too():
    notices, later = Notices(), batch((9, *BAD), PAD)
    notices.update(later, None)
    assert notices.quarantined == {9: ("decode", "frame 3 is damaged")}


def test_a_batch_of_padding_alone_and_no_batch_at_all():
    notices, clips = Notices(), batch(PAD, PAD)
    notices.update(clips, every(clips))
    assert notices.counts() == {"quarantined": 0, "short_clips": 0, "decoded_by_decord": 0, "decoded_by_pyav": 0}


def test_workers_notices_add_up_in_any_order():
    parts = [batch((4, *GOOD), (2, *BAD)), batch((7, *SHORT), (2, *BAD)), batch((9, *BAD), (4, *GOOD))]
    together = Notices()
    for part in parts:
        together.update(part, every(part))
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = Notices()
        for number in order:
            one = Notices()
            one.update(parts[number], every(parts[number]))
            merged.merge(one)
        assert merged.counts() == together.counts() and merged.quarantined == together.quarantined


def test_notices_survive_a_checkpoint():
    notices, clips = Notices(), batch((3, False, False, "none", "no frame decodes"), (0, *GOOD), (7, *SHORT), (1, *BAD))
    notices.update(clips, every(clips))
    notices.validated = True
    tree = json.loads(json.dumps(notices.to_json()))
    again, of_another_worker = Notices.from_json(tree), Notices.from_json(tree, chief=False)
    assert (again.quarantined, again.counts(), again.validated) == (notices.quarantined, notices.counts(), True)
    assert of_another_worker.counts() == Notices().counts() and of_another_worker.validated
    again.merge(of_another_worker)
    again.update(clips, None)  # the same clips after the restart
    assert again.counts() == notices.counts()
    assert Notices.from_json({}).counts() == Notices().counts()


def test_what_a_checkpoint_holds_does_not_grow_with_the_clips():
    def size(number):
        notices, clips = Notices(), batch(*((row, *(SHORT if row % 2 else GOOD)) for row in range(number)))
        notices.update(clips, every(clips))
        return len(json.dumps(notices.to_json()))

    assert size(1000) <= size(10) + 10  # digits


def test_bytes_read_over_the_network_are_of_every_look():
    notices, clips = Notices(), batch((4, *GOOD), (7, *SHORT), (2, *BAD), PAD)
    clips["fetched"] = torch.tensor([1000, 500, 0, 0])
    notices.update(clips, every(clips))
    clips["fetched"] = torch.tensor([0, 300, 0, 0])  # the first was found on the node
    notices.update(clips, None)
    read = {"bytes_fetched": 1800, "clips_shown": 4, "bytes_fetched_a_clip": 450}
    assert notices.counts().items() >= read.items()
    again = Notices.from_json(json.loads(json.dumps(notices.to_json())))
    again.merge(Notices.from_json(notices.to_json(), chief=False))
    assert again.counts().items() >= read.items()
    of_before = {name: value for name, value in notices.to_json().items() if name not in ("fetched", "shown")}
    assert "bytes_fetched" not in Notices.from_json(of_before).counts()
