"""What the tests of tables share."""

import pytest

from objadapt.config import Experiment
from objadapt.config_file import load_config


@pytest.fixture(scope="module")
def base(tiny_config, tmp_path_factory) -> Experiment:
    """The tiny experiment as tables train it: from a cache, in its own folder and store."""
    output = tmp_path_factory.mktemp("output")
    short = ["training.epochs=1", "training.warmup_epochs=0.5"]
    return load_config(
        tiny_config, [f"output={output}", f"stream.cache={output}/features", "tracking.uri=null", *short]
    )
