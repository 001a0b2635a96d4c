"""The one place that builds a method from its config section."""

import importlib
import os
import sys
from types import ModuleType
from typing import get_type_hints

import torch
from pydantic import ValidationError

from ..backbone import build_backbone
from ..config import Experiment
from ..config_discovery import SMTC, SSLUVOS, MotionLayers
from ..config_methods import AnyMethod, ObjectCentric, Outside
from ..config_peers import (
    AIM,
    EVL,
    AttentiveProbe,
    LinearProbe,
    MethodSection,
    STAdapter,
    TemporalTransformer,
    TimeSformer,
)
from ..config_where import Section
from ..errors import InputError, did_you_mean
from .aim import AIMMethod
from .attentive_probe import AttentiveProbeMethod
from .evl import EVLMethod
from .linear_probe import LinearProbeMethod
from .method import Method
from .motion_layers.motion_layers import MotionLayersMethod
from .object_centric.adapter import ObjectCentricAdapter
from .smtc.smtc import SMTCMethod
from .ssl_uvos.ssl_uvos import SSLUVOSMethod
from .st_adapter import STAdapterMethod
from .temporal_transformer import TemporalTransformerMethod
from .timesformer import TimeSformerMethod

CLASSES: dict[type[MethodSection], type[Method]] = {
    ObjectCentric: ObjectCentricAdapter,
    LinearProbe: LinearProbeMethod,
    AttentiveProbe: AttentiveProbeMethod,
    TemporalTransformer: TemporalTransformerMethod,
    STAdapter: STAdapterMethod,
    AIM: AIMMethod,
    EVL: EVLMethod,
    TimeSformer: TimeSformerMethod,
    SSLUVOS: SSLUVOSMethod,
    SMTC: SMTCMethod,
    MotionLayers: MotionLayersMethod,
}


def build_method(  # noqa: C901 -- a case a method
    config: Experiment, heads: dict[str, int], joint_width: int
) -> Method:
    """A new method, whose initial weights and whatever it draws depend on the config and its seed alone.

    Args:
        heads: head -> number of classes.
        joint_width: J, width of the backbone's features.

    Raises:
        InputError: settings that do not go together, or a module that is missing or has no `Settings` and `build`.
    """
    torch.manual_seed(config.seed)
    match config.method:
        case ObjectCentric() as settings:
            return ObjectCentricAdapter(settings, heads, joint_width, config.sampling.frames, config.seed)
        case LinearProbe() as settings:
            return LinearProbeMethod(settings, heads, joint_width)
        case AttentiveProbe() as settings:
            return AttentiveProbeMethod(settings, heads, joint_width, config.sampling.frames)
        case TemporalTransformer() as settings:
            return TemporalTransformerMethod(settings, heads, joint_width, config.sampling.frames)
        case STAdapter() as settings:
            return STAdapterMethod(settings, build_backbone(config.backbone), heads)
        case AIM() as settings:
            return AIMMethod(settings, build_backbone(config.backbone), heads, config.sampling.frames)
        case EVL() as settings:
            encoder = build_backbone(config.backbone)
            crop = config.transform.size or encoder.image_size
            return EVLMethod(settings, encoder, heads, config.sampling.frames, crop)
        case TimeSformer() as settings:
            return TimeSformerMethod(settings, build_backbone(config.backbone), heads, config.sampling.frames)
        case SSLUVOS() as settings:
            return SSLUVOSMethod(settings, joint_width, config.sampling.frames, config.seed)
        case SMTC() as settings:
            return SMTCMethod(settings, joint_width, config.sampling.frames, config.seed)
        case MotionLayers() as settings:
            encoder = build_backbone(config.backbone)
            crop = config.transform.size or encoder.image_size
            return MotionLayersMethod(settings, encoder, crop, config.sampling.frames, config.seed)
        case Outside(module=name, settings=settings):
            return _from_module(name, settings, config, heads, joint_width)


def method_class(settings: AnyMethod) -> type[Method]:  # noqa: C901 -- a case a method
    """The class of a method, which says what it takes before one is built.

    A module from outside names it by the return annotation of its `build`; without one it takes features, whole
    batches.

    Raises:
        InputError: as `build_method`.
    """
    if not isinstance(settings, Outside):
        return CLASSES[type(settings)]
    declared = get_type_hints(_module(settings.module).build).get("return", Method)
    if not (isinstance(declared, type) and issubclass(declared, Method)):
        raise InputError(
            f"method.module: build of {settings.module} is said to return {declared}, which is no objadapt Method"
        )
    return declared


def takes_frames(settings: AnyMethod) -> bool:
    """Whether a method reaches inside the backbone, so that nothing can be encoded beforehand.

    Errors as of `method_class`.
    """
    return method_class(settings).inputs == "frames"


def method_module(settings: AnyMethod) -> str:
    """The module in which a method begins; what it imports decides what is learnt, too (identity.py)."""
    match settings:
        case Outside(module=name):
            return name
        case _:
            return method_class(settings).__module__


def _module(name: str) -> ModuleType:
    """A module from outside that has what a method needs."""
    if os.getcwd() not in sys.path:  # scripts have their own folder there in its place
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(name)
    except SyntaxError as error:
        raise InputError(f"method.module: {error.filename}, line {error.lineno}: {error.msg}; correct it") from None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"method.module: {name} needs {error.name}, which is not installed") from None
        remedy = "start the command in the folder that holds it, or put that folder on PYTHONPATH"
        raise InputError(f"method.module: no module {name} on the path; {remedy}") from None
    except ImportError as error:
        raise InputError(f"method.module: {name} cannot be imported ({error}); correct it") from None
    if lacks := [part for part in ("Settings", "build") if not hasattr(module, part)]:
        raise InputError(f"method.module: {name} has no {' and no '.join(lacks)}; see docs/adding-a-method.md")
    if not (isinstance(module.Settings, type) and issubclass(module.Settings, Section)):  # which refuses unknown keys
        raise InputError(f"method.module: Settings of {name} is no objadapt Section; see docs/adding-a-method.md")
    return module


def _from_module(name: str, tree: dict, config: Experiment, heads: dict[str, int], joint_width: int) -> Method:
    """`build(settings, config, heads, joint_width)` of a module from outside, its settings read by its own section."""
    module = _module(name)
    try:
        settings = module.Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["method.settings", *map(str, first["loc"])])
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            known = list(module.Settings.model_fields)
            meant = did_you_mean(str(first["loc"][0]), known)
            raise InputError(f"{place}: unknown key; {meant}known here: {', '.join(known) or 'none'}") from None
        raise InputError(f"{place}: {first['msg'].removeprefix('Value error, ')} (got {first['input']!r})") from None
    method = module.build(settings, config, heads, joint_width)
    if not isinstance(method, Method):
        raise InputError(f"method.module: build of {name} gives a {type(method).__name__}, not an objadapt Method")
    if method.inputs != method_class(config.method).inputs:
        remedy = f"annotate it: def build(...) -> {type(method).__name__}"
        raise InputError(f"method.module: build of {name} does not say that its method takes {method.inputs}; {remedy}")
    return method
