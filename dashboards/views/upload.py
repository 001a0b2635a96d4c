"""Upload: a video of your own, the objects that a run sees in it, and the action that it would answer."""

import hashlib
import tempfile
from pathlib import Path

import streamlit as st

from dashboards import page
from dashboards.clip import Clip
from dashboards.inference import model, run_label, trained
from dashboards.objects_view import shown
from dashboards.video_objects import Seen, look
from objadapt.errors import InputError

MEGABYTES = 200
KEPT = "seen upload"  # in the session: what the model saw, never the file


def content() -> None:
    """The whole page."""
    if page.needs_folder("Videos are looked at by checkpoints, which lie"):
        return
    runs = trained(page.all_runs())
    if not runs:
        page.nothing("No run of this store has a checkpoint yet, so no model can look at a video.", "make demo")
        return
    run = page.choose("Run", "upload.run", runs, lambda one: one.name, run_label)
    given = st.file_uploader(f"A video of at most {MEGABYTES} MB", max_upload_size=MEGABYTES)
    st.caption(
        "It is read as a training would read it; a video that would be quarantined is refused with the same reason."
        " The file is written to a temporary folder of this machine and removed at once."
    )
    if given is None:
        st.session_state.pop(KEPT, None)
        return
    result = _seen(run.folder, given.name, given.getvalue())
    shown({"upload": result}, "upload")


def _seen(run: Path, name: str, content: bytes) -> Seen:
    """What the run sees, once for each file and run."""
    key = str(run), hashlib.sha256(content).hexdigest()
    if st.session_state.get(KEPT, (None,))[0] != key:
        st.session_state.pop(KEPT, None)
        if not content:
            raise InputError(f"{name}: empty; give a video file")
        loaded = model(run)
        with st.spinner("Looking at the video ..."), tempfile.TemporaryDirectory(prefix="objadapt-upload-") as folder:
            path = Path(folder) / "video"  # not its own name, which may hold anything
            path.write_bytes(content)
            st.session_state[KEPT] = key, look(loaded, Clip(name, str(path)))
    return st.session_state[KEPT][1]


page.show("Upload", content)
