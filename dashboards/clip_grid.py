"""A grid of clips to choose from: a picture, what the run made of it, and a button with the clip's name."""

from dataclasses import dataclass
from pathlib import Path, PurePath

import streamlit as st

from dashboards import page
from dashboards.clip import Clip
from dashboards.folder_store import stamp
from dashboards.thumbnails import thumbnails

A_PAGE, CARD = 12, 138  # cards, and pixels of one's width
KEPT = 2000  # pictures, of about 10 kB


@dataclass(frozen=True)
class Card:
    """A clip to choose: `name` tells it from the others, `told` is Markdown."""

    name: str
    clip: Clip
    told: str


def grid(cards: list[Card], chosen: str | None, key: str) -> str | None:
    """Show cards, some at a time; -> the name of the one whose button was pressed in this run of the page."""
    pages = -(-len(cards) // A_PAGE)
    number = st.pagination(pages, key=f"page {key}") if pages > 1 else 1
    shown, pressed = cards[A_PAGE * (number - 1) : A_PAGE * number], None
    pictures = _pictures([card.clip for card in shown])
    with st.container(horizontal=True, gap="small"):  # wraps where there is no room
        for place, (card, picture) in enumerate(zip(shown, pictures, strict=True)):
            with st.container(border=True, width=CARD, gap="xsmall"):
                if picture is None:
                    st.caption("no picture: it cannot be read")
                else:
                    st.image(picture, width="stretch", alt=f"the middle frame of {card.name}")
                st.caption(card.told)
                kind = "primary" if card.name == chosen else "secondary"
                label = page.plain(PurePath(card.name).stem[-24:])
                if st.button(label, key=f"card {key} {place}", help=page.plain(card.name), type=kind, width="stretch"):
                    pressed = card.name
    return pressed


def _pictures(clips: list[Clip]) -> list[bytes | None]:
    """Pictures of clips, kept."""
    kept, keys = _kept(), [_key(clip) for clip in clips]
    missing = {key: clip for key, clip in zip(keys, clips, strict=True) if key not in kept}
    if missing:
        with st.spinner("Reading pictures ..."):
            for key, picture in zip(missing, thumbnails(list(missing.values())), strict=True):
                kept[key] = picture
    found = [kept[key] for key in keys]
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)))
    return found


def _key(clip: Clip) -> tuple:
    """Of a clip and its file as they are now; as text, since no nan is like another."""
    return stamp(Path(clip.file or clip.pictures[0])), f"{clip.start_s} {clip.end_s}"


@st.cache_resource(show_spinner=False)
def _kept() -> dict[tuple, bytes | None]:
    return {}
