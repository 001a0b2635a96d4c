"""Quarantine: a reason survives the trip as bytes, a clip counts once however often it comes, padding never counts."""

import json

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from objadapt.pipeline.quarantine import DECODERS, REASON_BYTES, Notices, decode_reason, encode_reason


def batch(*clips: tuple[int, bool, bool, str, str]) -> dict[str, torch.Tensor]:
    """Columns of (row, valid, short, decoder, reason)."""
    rows, valid, short, decoder, reasons = zip(*clips)
    return {
        "row": torch.tensor(rows), "valid": torch.tensor(valid), "short": torch.tensor(short),
        "decoder": torch.tensor([DECODERS.index(name) for name in decoder], dtype=torch.uint8),
        "reason": torch.from_numpy(np.stack([encode_reason("decode", reason) for reason in reasons])),
    }  # fmt: skip


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


def test_a_clip_counts_once_and_padding_never():
    notices = Notices()
    for _ in range(3):  # epochs
        notices.update(batch((4, *GOOD), (7, *SHORT), (2, *BAD), PAD))
    notices.update(batch((5, *GOOD), PAD))
    assert notices.counts() == {"quarantined": 1, "short_clips": 1, "decoded_by_decord": 2, "decoded_by_pyav": 1}
    assert notices.quarantined == {2: ("decode", "frame 3 is damaged")}


def test_a_batch_of_padding_alone_and_no_batch_at_all():
    notices = Notices()
    notices.update(batch(PAD, PAD))
    assert notices.counts() == {"quarantined": 0, "short_clips": 0, "decoded_by_decord": 0, "decoded_by_pyav": 0}


def test_workers_notices_add_up_in_any_order():
    parts = [batch((4, *GOOD), (2, *BAD)), batch((7, *SHORT), (2, *BAD)), batch((9, *BAD), (4, *GOOD))]
    together = Notices()
    for part in parts:
        together.update(part)
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = Notices()
        for number in order:
            one = Notices()
            one.update(parts[number])
            merged.merge(one)
        assert merged.counts() == together.counts() and merged.quarantined == together.quarantined


def test_notices_survive_a_checkpoint():
    notices = Notices()
    notices.update(batch((3, False, False, "none", "no frame decodes"), (0, *GOOD), (7, *SHORT), (1, *BAD)))
    again = Notices.from_json(json.loads(json.dumps(notices.to_json())))
    assert (again.quarantined, again.short, again.decoder) == (notices.quarantined, notices.short, notices.decoder)
    again.update(batch((0, *GOOD), (1, *BAD)))  # the same clips after the restart
    assert again.counts() == notices.counts()
    assert Notices.from_json({}).counts() == Notices().counts()
