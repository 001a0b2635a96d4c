"""Figures of a sweep: Optuna's own ones, and accuracy against cost with the Pareto front."""

import re
import warnings
from itertools import accumulate

import optuna
import plotly.graph_objects as go
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import plot_contour, plot_parallel_coordinate, plot_slice

from dashboards import page
from dashboards.study_file import SweepFile
from objadapt.errors import InputError
from objadapt.sweeps.study import COST

FANOVA_TRIALS = 10  # for each parameter; with fewer, importances are noise
CONTOUR_TRIALS, CONTOUR_VALUES = 9, 3  # complete ones with both parameters, and different values of each
TAU, MARGIN = "method.losses.distillation.slot_temperature", "method.losses.temporal.margin"


def _judged(sweep: SweepFile) -> optuna.Study:
    """The study with its first objective alone, since with several Optuna's figures colour the worst as the best."""
    if len(sweep.study.directions) == 1:
        return sweep.study
    study = optuna.create_study(direction=sweep.study.directions[0])
    for trial in sweep.study.trials:  # copies; all of them, since the order gives their numbers
        if trial.values:
            trial.values = trial.values[:1]
        study.add_trial(trial)
    return study


def _first(trial: FrozenTrial) -> float:
    return trial.values[0]


def history(sweep: SweepFile) -> go.Figure:
    """The objective of each complete trial, and the best so far."""
    done = sweep.trials(TrialState.COMPLETE)
    numbers, values = [trial.number for trial in done], [trial.values[0] for trial in done]
    best = list(accumulate(values, max if sweep.study.directions[0] == StudyDirection.MAXIMIZE else min))
    drawn = page.figure("Optimisation history", "trial", sweep.metric)
    drawn.update_xaxes(range=[-0.5, max(numbers) + 0.5])
    _from_zero(drawn, values)
    marker = {"color": page.GREY, "symbol": "circle-open", "size": 8}
    drawn.add_scatter(x=numbers, y=values, mode="markers", name="trial", marker=marker)
    drawn.add_scatter(x=numbers, y=best, mode="lines", name="best so far", line={"color": page.BLUE, "shape": "hv"})
    return drawn


def importances(sweep: SweepFile) -> go.Figure:
    """Share of the objective's variance that each parameter explains, by fANOVA, over parameters that all trials have.

    Needs `FANOVA_TRIALS` complete trials a parameter.

    Raises:
        InputError: too few trials, or all have the same parameters.
    """
    done, needed = len(sweep.trials(TrialState.COMPLETE)), FANOVA_TRIALS * len(varied(sweep))
    if done < needed:
        raise InputError(
            f"Parameter importance needs {needed} complete trials, {FANOVA_TRIALS} a parameter; {done} are there"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            shares = get_param_importances(sweep.study, evaluator=FanovaImportanceEvaluator(seed=0), target=_first)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"parameter importance: {error}") from None
    if not shares:
        raise InputError("parameter importance: no parameter that all trials have takes more than one value")
    names = list(shares)[::-1]
    drawn = page.figure(
        "Parameter importance (fANOVA)", f"share of the variance of {sweep.metric}", "", 110 + 40 * len(names)
    )
    drawn.add_bar(
        x=[shares[name] for name in names],
        y=[short(name) for name in names],
        orientation="h",
        marker={"color": page.BLUE},
    )
    return drawn.update_xaxes(range=[0, 1])


def parallel(sweep: SweepFile) -> go.Figure:
    """A line a trial over all parameters."""
    drawn = plot_parallel_coordinate(_judged(sweep), params=varied(sweep), target_name=sweep.metric)
    drawn.layout.xaxis.ticktext = [sweep.metric, *map(short, sorted(varied(sweep)))]  # Optuna cuts them off
    return _named(drawn, "Parallel coordinates; dark lines are the best", 400).update_layout(margin={"t": 70, "b": 110})


def slices(sweep: SweepFile) -> go.Figure:
    """The objective against each parameter alone."""
    drawn = plot_slice(_judged(sweep), params=varied(sweep), target_name=sweep.metric)
    drawn.update_xaxes(nticks=4)
    for axis in drawn.select_xaxes():
        axis.title = {
            "text": short(axis.title.text or "").replace(".", ".<br>", 1).replace(" [", "<br>["),
            "font": {"size": 10},
        }
    return _from_zero(_named(drawn, "Slices"), [_first(trial) for trial in sweep.trials(TrialState.COMPLETE)])


def contour(sweep: SweepFile, first: str, second: str) -> go.Figure:
    """The objective over two parameters.

    Raises:
        InputError: too few trials have both, or too few different values.
    """
    both = [one for one in sweep.trials(TrialState.COMPLETE) if first in one.params and second in one.params]
    what = f"A contour of {short(first)} and {short(second)} needs"
    if len(both) < CONTOUR_TRIALS:
        raise InputError(f"{what} {CONTOUR_TRIALS} complete trials with both; {len(both)} are there")
    for name in (first, second):
        values = len({str(one.params[name]) for one in both})
        needed = min(CONTOUR_VALUES, len(getattr(both[0].distributions[name], "choices", range(CONTOUR_VALUES))))
        if values < needed:
            raise InputError(f"{what} {needed} values of {short(name)}; the trials have {values}")
    drawn = plot_contour(_judged(sweep), params=[first, second], target_name=sweep.metric)
    drawn.update_traces(colorscale="Cividis", reversescale=False, selector={"type": "contour"})
    drawn.update_traces(marker={"color": "white", "line": {"color": "black", "width": 1}}, selector={"type": "scatter"})
    return _named(drawn, f"{short(first)} x {short(second)}", 420)


def cost(sweep: SweepFile) -> go.Figure:
    """The objective against the adapter's GFLOPs, with the trials that no other trial beats in both."""
    front = sweep.front()
    drawn = page.figure(f"{sweep.metric} against cost", "adapter GFLOPs", sweep.metric, 380)
    for on_front, name, symbol, colour in (
        (False, "beaten", "circle-open", page.GREY),
        (True, "Pareto front", "diamond", page.BLUE),
    ):
        some = front[front["front"] == on_front]
        drawn.add_scatter(
            x=some[COST],
            y=some[sweep.metric],
            mode="lines+markers" if on_front else "markers",
            name=name,
            line={"shape": "hv"},
            marker={"symbol": symbol, "color": colour, "size": 10},
            text=[f"trial {number}" for number in some["trial"]],
        )
    drawn.update_xaxes(rangemode="tozero")
    return _from_zero(drawn, list(front[sweep.metric]))


def varied(sweep: SweepFile) -> list[str]:
    """Parameters of complete trials: tau and margin first, conditional ones last."""
    names = sorted({name for trial in sweep.trials(TrialState.COMPLETE) for name in trial.params})
    return sorted(names, key=lambda name: (name != TAU, name != MARGIN, "[" in name, name))


def short(name: str) -> str:
    """The end of a config key, with its condition where it has one: `method.interval [frames=4]`."""
    key, bracket, condition = name.partition(" [")
    return ".".join(key.split(".")[-2:]) + bracket + re.sub(r"[\w.]*\.(?=\w+=)", "", condition)


def _from_zero(drawn: go.Figure, values: list[float]) -> go.Figure:
    """The objective's axis without numbers below 0, where it has none: no accuracy and no loss is below."""
    return drawn.update_yaxes(rangemode="nonnegative") if min(values, default=0) >= 0 else drawn


def _named(drawn: go.Figure, title: str, height: int = 340) -> go.Figure:
    margin = {"l": 10, "r": 10, "t": 44, "b": 10}
    return drawn.update_layout(
        title={"text": title, "font": {"size": 15}}, height=height, margin=margin, template="plotly_white"
    )
