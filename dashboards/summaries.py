"""What a store has, in few lines: the best run of each data set, claims counted, the row that a run is of, the demo."""

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath

from dashboards.store import Run
from objadapt.metric import TOP1

PROBE = "linear_probe"
VERDICTS = ("holds", "fails", "undecided")
JUDGED = (  # settings by which runs are judged on other clips, or on other classes of them
    *(f"data.{key}" for key in "root format val labels split path_column split_column label_column holdout".split()),
    "evaluation.reverse",
)
HOLDOUT = JUDGED.index("data.holdout")


@dataclass(frozen=True)
class Best:
    """The runs that were judged on the same clips, the best first, against chance and a linear probe; accuracies in %,
    None: unknown.
    """

    dataset: str  # and what tells these runs from others of a data set of that name
    runs: list[Run]
    accuracy: float | None
    chance: float | None
    probe: float | None


def best_first(runs: list[Run]) -> list[Run]:
    """The most accurate first; those of unknown accuracy last, as they came."""
    return sorted(runs, key=lambda run: -1.0 if (value := TOP1.value(run.summary)) is None else value, reverse=True)


def dataset_of(run: Run) -> str:
    """The last part of `data.root`, by which people know a data set; `?` where it is unknown."""
    return PurePath(run.settings.get("data.root", "")).name or "?"


def best_of_each(runs: list[Run]) -> list[Best]:
    """Each data set of a store, the one with the newest run first; apart what was judged on other clips, and last what
    was judged on training clips that were held out, as a sweep's trials are.
    """
    grouped: dict[tuple[str | None, ...], list[Run]] = {}
    for run in runs:
        grouped.setdefault(tuple(run.settings.get(key) for key in JUDGED), []).append(run)
    found = []
    for judged, own in sorted(grouped.items(), key=lambda one: one[0][HOLDOUT] not in (None, "0", "0.0")):
        ordered = best_first(own)
        best = ordered[0].summary
        probes = [
            TOP1.value(run.summary)
            for run in own
            if run.settings.get("method.name") == PROBE and run.summary.get("views") == best.get("views")
        ]
        found.append(
            Best(
                _title(judged, own[0], list(grouped)),
                ordered,
                TOP1.value(best),
                100 * chance if isinstance(chance := best.get("chance"), float) else None,
                max((value for value in probes if value is not None), default=None),
            )
        )
    return found


def _title(judged: tuple[str | None, ...], run: Run, others: list[tuple[str | None, ...]]) -> str:
    """`toy`; `toy (data.holdout=0.2)` where other runs of a data set of that name were judged without it."""
    name = dataset_of(run)
    alike = [one for one in others if PurePath(one[0] or "").name == PurePath(judged[0] or "").name]
    told = [f"{key}={value}" for key, value, *rest in zip(JUDGED, judged, *alike, strict=True) if len(set(rest)) > 1]
    return f"{name} ({', '.join(told)})" if told else name


def claims_counted(outcome: dict) -> str:
    """`2 claims hold, 1 fails, 1 is undecided`; `no claims`."""
    counted = Counter(claim["verdict"] for claim in outcome["claims"])
    words = {"holds": ("holds", "hold"), "fails": ("fails", "fail"), "undecided": ("is undecided", "are undecided")}
    order = [*VERDICTS, *(verdict for verdict in counted if verdict not in VERDICTS)]
    told = [
        f"{counted[verdict]} {words.get(verdict, (verdict, verdict))[counted[verdict] > 1]}"
        for verdict in order
        if counted[verdict]
    ]
    return "claims: " + ", ".join(told) if told else "no claims"


def rows_done(outcome: dict) -> str:
    """`9 rows`; `7 of 9 rows done`; rows that are as published do not count."""
    states = [row["status"] for row in outcome["rows"] if row["status"] != "published"]
    done, rows = states.count("done"), len(states)
    return f"{rows} rows" if done == rows else f"{done} of {rows} rows done"


def rows_of_runs(outcomes: list[tuple[str, dict]]) -> dict[str, str]:
    """Id of an MLflow run -> the rows that it is of: `losses (toy): both`; `outcomes`: title and outcome of each."""
    found: dict[str, list[str]] = {}
    for title, outcome in outcomes:
        for row in outcome["rows"]:
            for run_id in filter(None, row["runs"].values()):
                found.setdefault(run_id, []).append(f"{title}: {row['name']}")
    return {run_id: "; ".join(rows) for run_id, rows in found.items()}


def demo_rows(summary: dict) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Top-1 and J&F in % that `make demo` printed, from the summary that it left; empty where that is another's."""
    if not str(summary.get("data", "")).endswith("(toy)"):
        return [], []
    names = {
        "top1": "full method",
        "control_top1": "no temporal module",
        "backwards_top1": "full method, frames backwards",
        "chance": "chance",
    }
    accuracies = [(name, 100 * summary[key]) for key, name in names.items() if isinstance(summary.get(key), float)]
    masks = {
        "slots": "full method's slots",
        "k-means": "k-means on the frozen patches",
        "grid": "a fixed grid",
        "ceiling": "the true masks, in patches",
    }
    scores = summary.get("objects_jf")
    scores = scores if isinstance(scores, dict) else {}
    return accuracies, [(name, 100 * scores[key]) for key, name in masks.items() if isinstance(scores.get(key), float)]
