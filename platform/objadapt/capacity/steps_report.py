"""Measured costs of methods as a table beside the paper's ratios, as plain values, and as a figure."""

from statistics import median, quantiles

from matplotlib.figure import Figure

from .steps import Measured

# the paper's Tables on cost: hours of training and clips a second, the paper's method = 1 (8 GPUs, ViT-B/16)
PAPER_TRAINING = {"timesformer": 3.0, "st_adapter": 1.5, "aim": 1.6, "evl": 1.5, "object_centric": 1.0}
PAPER_THROUGHPUT = {"st_adapter": 0.8, "aim": 0.8, "evl": 0.6, "object_centric": 1.0}
COLUMNS = (
    ("method", 22),
    ("tunable", 10),
    ("total", 9),
    ("GFLOPs", 9),
    ("step ms", 10),
    ("spread", 14),
    ("ratio", 7),
    ("paper", 7),
    ("cached ms", 11),
    ("clips/s", 9),
    ("ratio", 7),
    ("paper", 7),
    ("saved MB", 10),
)


def as_values(found: list[Measured]) -> list[dict]:
    """One row a method; ratios are to the first, which is the reference."""
    first = found[0]
    return [
        {
            "method": one.name,
            "inputs": one.inputs,
            "tunable_parameters": one.tunable,
            "total_parameters": one.total,
            "gflops": one.gflops,
            "step_ms": 1e3 * one.step_seconds,
            "step_ms_quartiles": [1e3 * value for value in _quartiles(one.steps)],
            "step_ratio": one.step_seconds / first.step_seconds,
            "parts_ms": {name: 1e3 * seconds for name, seconds in one.step.items()},
            "cached_step_ms": None if one.cached_seconds is None else 1e3 * one.cached_seconds,
            "clips_per_second": one.throughput,
            "throughput_ratio": one.throughput / first.throughput,
            "saved_bytes": one.saved_bytes,
            "peak_bytes": one.peak_bytes,
            "paper_training_ratio": _papers(PAPER_TRAINING, one.name, first.name),
            "paper_throughput_ratio": _papers(PAPER_THROUGHPUT, one.name, first.name),
        }
        for one in found
    ]


def as_text(rows: list[dict]) -> str:
    """The table, and the parts of a step below it; times are of one clip."""
    lines = ["".join(f"{name:<{width}}" if not at else f"{name:>{width}}" for at, (name, width) in enumerate(COLUMNS))]
    for row in rows:
        low, high = row["step_ms_quartiles"]
        cells = [
            f"{row['tunable_parameters'] / 1e6:.2f} M",
            f"{row['total_parameters'] / 1e6:.1f} M",
            f"{row['gflops']:.1f}",
            f"{row['step_ms']:.1f}",
            f"{low:.1f}-{high:.1f}",
            f"{row['step_ratio']:.2f}",
            _or_dash(row["paper_training_ratio"], ".1f"),
            _or_dash(row["cached_step_ms"], ".1f"),
            f"{row['clips_per_second']:.2f}",
            f"{row['throughput_ratio']:.2f}",
            _or_dash(row["paper_throughput_ratio"], ".1f"),
            f"{row['saved_bytes'] / 1e6:.1f}",
        ]
        widths = [width for _, width in COLUMNS[1:]]
        texts = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"{row['method']:<{COLUMNS[0][1]}}" + "".join(texts))
    lines += ["", f"{'a step, ms a clip':<22}" + "".join(f"{part:>11}" for part in rows[0]["parts_ms"])]
    for row in rows:
        lines.append(f"{row['method']:<22}" + "".join(f"{value:>11.1f}" for value in row["parts_ms"].values()))
    return "\n".join(lines)


def cost_figure(rows: list[dict]) -> Figure:
    """Time of a step, from frames and from cached features, and saved activations, method beside method."""
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.6), layout="constrained")
    time, memory = figure.subplots(1, 2, sharey=True)
    names, places = [row["method"] for row in rows], range(len(rows))
    time.barh(places, [row["step_ms"] for row in rows], color="#4477aa", label="from frames")
    cached = [(place, row["cached_step_ms"]) for place, row in enumerate(rows) if row["cached_step_ms"] is not None]
    time.barh([place for place, _ in cached], [ms for _, ms in cached], 0.4, color="#ee6677", label="from a cache")
    time.set_yticks(places, names)
    time.invert_yaxis()
    time.set(xlabel="training step (ms a clip)", xscale="log")
    time.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    memory.barh(places, [row["saved_bytes"] / 1e6 for row in rows], color="#228833")
    memory.set(xlabel="activations kept for the backward (MB a clip)", xscale="log")
    return figure


def _papers(ratios: dict[str, float], name: str, first: str) -> float | None:
    """The paper's ratio of two methods; of both placements of ST-Adapter it gives one."""
    one, other = (ratios.get(method.removesuffix("-both")) for method in (name, first))
    return one / other if one and other else None


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return median(values), median(values)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
