"""Plans of many configs that have most in common."""

from dataclasses import replace

from ..config import Experiment
from ..data.manifest import Manifest, build_manifest
from ..methods.build import method_class, takes_frames
from ..plan import Plan, plan


class Plans:
    """Plans of configs; data are read and backbones built once for all configs that differ in seed,
    model or losses alone.
    """

    def __init__(self):
        self._manifests: dict[tuple, Manifest] = {}
        self._plans: dict[tuple, Plan] = {}

    def __call__(self, config: Experiment) -> Plan:
        """A row whose method takes frames has no cache. Raises InputError as `plan` does."""
        if takes_frames(config.method):
            config = config.model_copy(update={"stream": config.stream.model_copy(update={"cache": None})})
        drawn = config.data.fraction < 1  # other clips under another seed
        data_key = config.data, config.seed if drawn else None
        if data_key not in self._manifests:
            self._manifests[data_key] = build_manifest(config.data, config.seed)
        # of the method a plan knows no more than its class and whether it needs labels
        method = method_class(config.method), config.method.learns_from_labels
        same = {"method": Experiment().method, "name": "plan"}
        shared = config.model_copy(update=same | ({} if drawn else {"seed": 0}))
        if (shared, method) not in self._plans:
            self._plans[shared, method] = plan(config, self._manifests[data_key])
        found = self._plans[shared, method]
        # the found config has numbers where this one may say "auto"; its own is what plans do not share
        own = {"method": config.method, "name": config.name, "seed": config.seed}
        config = found.config.model_copy(update=own)
        return replace(found, config=config, schedule=replace(found.schedule, seed=config.seed))
