"""Stand-ins for the name and the home of a user who has none, as in a container under `--user 12345`.

Ray, torch and others ask for both, some of them while they are imported, and end in a traceback where there is no
answer. So this is imported first, for its effect. What must be written to a home goes elsewhere (see ray_start.py) or
is not written.
"""

import getpass
import os
from pathlib import Path

try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ["USER"] = f"uid{os.getuid()}"
try:
    Path.home()
except RuntimeError:
    os.environ["HOME"] = "/nonexistent"  # Debian's word for it
