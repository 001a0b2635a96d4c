"""How Objects and Upload show a clip: the video with its masks, the answer, a frame, norms, answers over time."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch

from dashboards import page, slot_pictures
from dashboards.mask_files import masks_zip, overlay_video
from dashboards.video_objects import Seen
from objadapt.evaluation.object_masks import upsample
from objadapt.evaluation.overlay import attention_sheet, evenly_spaced, palette

ALL, SHEET = 0, 4  # no single slot; frames on the sheet of all slots
CLASSES_SHOWN, TOP = 3, 5  # in a figure, and in the list


def controls(seen: list[Seen], key: str) -> tuple[int, int]:
    """The chosen frame and slot (1 .. K, or `ALL`) for all of `seen`, which show the same clip."""
    frames = len(seen[0].seconds)
    slots = max((run.attention.shape[1] for run in seen if run.attention is not None), default=0)
    left, right = st.columns(2)
    with left:
        seconds = [f"{second:.2f} s" for second in seen[0].seconds]
        frame = (
            st.select_slider("Frame", range(frames), format_func=seconds.__getitem__, key=f"frame {key}")
            if frames > 1
            else 0
        )
    with right:
        named = ["all slots", *(f"slot {slot + 1}" for slot in range(slots))]
        slot = st.selectbox("Soft attention of", range(slots + 1), format_func=named.__getitem__, key=f"slot {key}")
    return frame, slot


def shown(seen: dict[str, Seen], key: str, true: str | None = None, problems: dict[str, str] | None = None) -> None:
    """What one run, or two side by side, see in a clip.

    Args:
        seen: name of a run -> what it sees.
        true: name of the true class, where it is known.
        problems: name of a run -> why it sees nothing.
    """
    names = [*seen, *(problems or {})]
    for place, name in zip(st.columns(len(names)), names, strict=True):
        with place:
            if len(names) > 1:
                st.markdown(f"**{page.plain(name)}**")
            if name in seen:
                _summary(seen[name], f"{key} {name}", true, wide=len(names) == 1)
            else:
                page.problem(problems[name])
    frame, slot = controls(list(seen.values()), key)
    for place, name in zip(st.columns(len(seen)), seen, strict=True):
        with place:
            _details(seen[name], frame, slot, f"{key} {name}", true)


def _summary(seen: Seen, key: str, true: str | None, wide: bool) -> None:
    """The video with its masks, the answer beside it or below, and what can be saved."""
    left, right = st.columns([3, 2]) if wide else (st.container(), st.container())
    with left:
        st.video(_video(seen), loop=True, autoplay=True, muted=True, alt="the video with each pixel's slot over it")
        drawn = (
            "each pixel in the colour of its strongest slot"
            if seen.attention is not None
            else "this model has no slots"
        )
        st.caption(f"{len(seen.frames)} frames at their own pace; {drawn}")
    with right:
        _answer(seen, true)
        with st.container(horizontal=True):
            name = key.split()[0]
            st.download_button(
                "Save overlay", _video(seen), f"{name}.mp4", "video/mp4", key=f"mp4 {key}", on_click="ignore"
            )
            if seen.attention is not None:
                st.download_button(
                    "Save masks", masks_zip(seen), f"{name}.zip", "application/zip", key=f"zip {key}", on_click="ignore"
                )


@st.cache_data(max_entries=12, show_spinner="Drawing the video ...", hash_funcs={Seen: id})
def _video(seen: Seen) -> bytes:
    return overlay_video(seen)


def _details(seen: Seen, frame: int, slot: int, key: str, true: str | None) -> None:
    """A frame's pictures, the norms and the answers over time."""
    _pictures(seen, frame, slot)
    if seen.change_norms is None:
        st.info(
            "This model has no state changes of slots (method.temporal, method.slots.number),"
            " so there are no norms to show."
        )
    else:
        page.chart(_norms(seen, frame), f"norms {key}", "norm of each slot's state change over time")
    for head in seen.probabilities:
        page.chart(
            _answers(seen, head, true, frame), f"answers {head} {key}", f"probability of classes over time ({head})"
        )


def _answer(seen: Seen, true: str | None) -> None:
    """The answer of each head, whether it is right, and the most probable classes."""
    for head, probabilities in seen.probabilities.items():
        names, last = _names(seen, head), probabilities[-1]
        order = np.argsort(-last, kind="stable")
        best, judged = int(order[0]), true is not None and len(seen.probabilities) == 1
        verdict = "" if not judged else ":blue-badge[right]" if names[best] == true else ":orange-badge[wrong]"
        st.markdown(f"**{page.plain(names[best])}**, {100 * last[best]:.0f} %{page.plain(_of(seen, head))} {verdict}")
        lines = [f"{place}. {page.plain(names[at])}: {100 * last[at]:.1f} %" for place, at in enumerate(order[:TOP], 1)]
        if judged and true in names and names.index(true) not in order[:TOP]:
            at = names.index(true)
            lines.append(f"{int(np.where(order == at)[0][0]) + 1}. {page.plain(true)}: {100 * last[at]:.1f} %")
        if judged:
            lines = [f"{line} (true)" if f" {page.plain(true)}:" in line else line for line in lines]
        st.markdown("  \n".join(lines))


def _pictures(seen: Seen, frame: int, slot: int) -> None:
    picture, attention = seen.frames[frame], seen.attention
    shown = {f"frame at {seen.seconds[frame]:.2f} s": slot_pictures.enlarged(picture)}
    if attention is not None:
        shown["each pixel to its strongest slot"] = slot_pictures.objects(picture, attention[frame])
    if seen.truth is not None:
        shown["annotated objects; colours are not slots"] = slot_pictures.annotated(picture, seen.truth[frame])
    slots = 0 if attention is None else attention.shape[1]
    if 0 < slot <= slots:
        top, mean = float(np.quantile(attention, 0.999)), attention[frame, slot - 1].mean()
        caption = f"slot {slot}, soft: full colour at {top:.2f}; mean {mean:.3f}, even shares {1 / slots:.3f}"
        shown[caption] = slot_pictures.looked_at(picture, attention[frame], slot - 1, top)
    for place, (caption, image) in zip(st.columns(len(shown)), shown.items(), strict=True):
        place.image(image, caption, width="stretch", alt=caption)
    if not slots:
        st.info("This model has no slots (method.slots.number), so there are no objects to show.")
    elif slot > slots:
        st.info(f"This model has {slots} slots.")
    elif slot == ALL:
        with st.expander("Soft attention of all slots over time"):
            some = evenly_spaced(len(seen.frames), SHEET)
            frames = np.stack([slot_pictures.enlarged(seen.frames[number]) for number in some])
            soft = upsample(torch.from_numpy(attention[some]), frames.shape[1:3]).numpy()
            times = [f"{seen.seconds[number]:.2f} s" for number in some]
            sheet = attention_sheet(frames, soft, SHEET, 200, labels=times)
            st.image(sheet, width="stretch", alt="attention of each slot over time")


def _norms(seen: Seen, frame: int) -> go.Figure:
    drawn = page.figure("State change of each object", "seconds", "norm of the change")
    colours = palette(seen.change_norms.shape[1])
    for slot, norms in enumerate(seen.change_norms.T):
        red, green, blue = colours[slot + 1]
        look = {"color": f"rgb({red}, {green}, {blue})"}
        drawn.add_scatter(
            x=seen.change_seconds,
            y=norms,
            mode="lines+markers",
            name=f"slot {slot + 1}",
            line=look,
            marker=look | {"symbol": page.SYMBOLS[slot % len(page.SYMBOLS)], "size": 8},
        )
    return _at(drawn, seen, frame)


def _answers(seen: Seen, head: str, true: str | None, frame: int) -> go.Figure:
    names, probabilities = _names(seen, head), seen.probabilities[head]
    drawn = page.figure(f"Answer to the clip up to each moment{_of(seen, head)}", "seconds", "probability")
    shown = list(np.argsort(-probabilities[-1])[:CLASSES_SHOWN])
    if true in names and names.index(true) not in shown:
        shown.append(names.index(true))
    for number, label in enumerate(shown):
        drawn.add_scatter(
            x=seen.moments,
            y=probabilities[:, label],
            mode="lines+markers",
            name=names[label] + (" (true)" if names[label] == true else ""),
            line={"color": page.SERIES[number], "dash": page.DASHES[number]},
            marker={"symbol": page.SYMBOLS[number], "size": 8},
        )
    drawn.update_yaxes(range=[0, 1])
    return _at(drawn, seen, frame)


def _at(drawn: go.Figure, seen: Seen, frame: int) -> go.Figure:
    """Mark the frame that is looked at, on an axis as long as the clip."""
    margin = 0.03 * float(seen.seconds[-1] or 1)
    drawn.update_xaxes(range=[-margin, float(seen.seconds[-1]) + margin])
    return drawn.add_vline(x=float(seen.seconds[frame]), line={"color": page.GREY, "width": 1, "dash": "dot"})


def _of(seen: Seen, head: str) -> str:
    """Which head it is, where there are several."""
    return f" ({head})" if len(seen.probabilities) > 1 else ""


def _names(seen: Seen, head: str) -> list[str]:
    """Class names; numbers where the data set has none."""
    classes = seen.probabilities[head].shape[1]
    return (
        list(seen.classes[head])
        if len(seen.classes[head]) == classes
        else [f"class {number}" for number in range(classes)]
    )
