"""Starts the results app with its libraries loaded already, which the first page would wait for otherwise.

python -m dashboards outputs        # and any option of `streamlit run` before the store: --server.port 8600
objadapt dashboard outputs          # the same, and make dashboard: both look for the store first
"""

import sys
from pathlib import Path

from streamlit.web import cli

REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    """`streamlit run dashboards/app.py OPTIONS -- STORE`."""
    sys.path.insert(0, str(REPOSITORY / "platform"))
    import plotly.graph_objects  # noqa: F401

    import dashboards.folder_store  # noqa: F401
    import dashboards.run_files  # noqa: F401  (pandas, and what the package needs for tables)
    import objadapt.evaluation.overlay  # noqa: F401

    *options, store = sys.argv[1:] or ["outputs"]
    sys.argv = ["streamlit", "run", str(REPOSITORY / "dashboards" / "app.py"), *options, "--", store]
    cli.main()


if __name__ == "__main__":
    main()
