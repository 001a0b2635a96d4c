"""Plans that share data and backbone are those that each config gets alone."""

import pytest

from objadapt.config_file import override, validate
from objadapt.data.manifest import build_manifest
from objadapt.plan import plan
from objadapt.tables.plans import Plans


@pytest.mark.parametrize("cached", [True, False])
def test_plans_have_numbers_where_the_config_says_auto(base, cached):
    """A row whose "auto" was left in was trained for no epoch, and shown as done."""
    autos = ["training.epochs=auto", "training.batch_size=auto", "stream.hold=auto"]
    tree = override(base.model_dump(), autos + ([] if cached else ["stream.cache=null"]))
    make = Plans()
    for method in ("object_centric", "linear_probe", "st_adapter"):
        for seed in (0, 1):
            config = validate(override(tree, [f"method.name={method}", f"seed={seed}", f"name={method}"]))
            shared = make(config)
            if method == "st_adapter":  # in a table there is no cache of a row that takes frames
                config = validate(override(config.model_dump(), ["stream.cache=null"]))
            alone = plan(config, build_manifest(config.data, seed))
            assert shared.config == alone.config and shared.config.training.epochs >= 20
            assert (shared.identity, shared.folder) == (alone.identity, alone.folder)
