"""The one error of a video that cannot be read."""


class DecodeError(Exception):
    """A video cannot be read exactly; `stage` and `reason` are the columns of its quarantine row.

    stage: "fetch" | "open" | "demux" | "decode" | "sampling"; reason: one line.
    """

    def __init__(self, stage: str, reason: object):
        self.stage = stage
        lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
        self.reason = (lines[0] if lines else type(reason).__name__)[:300]
        super().__init__(stage, self.reason)  # both arguments, so that it survives pickling between processes

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"
