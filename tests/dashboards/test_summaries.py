"""What Overview and Runs say of a whole store."""

from pathlib import Path

from dashboards.folder_store import FolderRun
from dashboards.summaries import best_first, best_of_each, claims_counted, demo_rows, rows_done, rows_of_runs


def run(name: str, top1: float | None, root: str = "data/toy", method: str = "object_centric", **more) -> FolderRun:
    summary = {} if top1 is None else {"top1": top1, "chance": 0.25} | more
    return FolderRun(Path(name), summary, settings={"data.root": root, "method.name": method})


def test_the_best_run_of_each_data_set_stands_against_chance_and_probe():
    runs = [run("cut", None), run("weak", 0.3), run("probe", 0.4, method="linear_probe"), run("other", 0.9, "/d/jhmdb")]
    runs.append(run("strong", 0.6))
    toy, jhmdb = best_of_each(runs)
    assert [one.name for one in toy.runs] == ["strong", "probe", "weak", "cut"]
    assert (toy.dataset, toy.accuracy, toy.chance, toy.probe) == ("toy", 60.0, 25.0, 40.0)
    assert (jhmdb.dataset, jhmdb.accuracy, jhmdb.probe) == ("jhmdb", 90.0, None)


def test_runs_that_were_judged_on_other_clips_stand_apart():
    mine, probe = run("mine", 0.8), run("probe", 0.85, method="linear_probe", views="8 x 1 x 1")
    trial = run("trial", 0.92)
    for one in (mine, probe, trial):
        one.settings["data.holdout"] = "0.2" if one is trial else "0.0"
    whole, held = best_of_each([trial, mine, probe])
    assert (held.dataset, held.accuracy, held.probe) == ("toy (data.holdout=0.2)", 92.0, None)
    assert (whole.dataset, whole.accuracy, whole.probe) == ("toy (data.holdout=0.0)", 85.0, 85.0)
    mine.summary.update(top1=0.9, views="8 x 3 x 1")
    assert best_of_each([mine, probe])[0].probe is None, "the probe was seen in other views"
    two, many = run("two", 0.6, "/d/two/videos", chance=0.5), run("many", 0.3, "/d/k400/videos", chance=0.0025)
    found = {one.dataset: (one.accuracy, one.chance) for one in best_of_each([two, many])}
    roots = {"/d/two/videos": (60.0, 50.0), "/d/k400/videos": (30.0, 0.25)}
    assert found == {f"videos (data.root={root})": numbers for root, numbers in roots.items()}


def test_an_accuracy_of_nothing_comes_before_an_unknown_one():
    runs = [run("unknown", None), run("zero", 0.0), run("also", 0.0)]
    assert [one.name for one in best_first(runs)] == ["zero", "also", "unknown"]


def test_claims_and_rows_are_counted():
    row = {"status": "done"}
    assert rows_done({"rows": [row, row]}) == "2 rows"
    assert rows_done({"rows": [row, {"status": "missing"}]}) == "1 of 2 rows done"
    claims = [{"verdict": verdict} for verdict in ("holds", "undecided", "holds", "fails", "not judged")]
    assert claims_counted({"claims": claims}) == "claims: 2 hold, 1 fails, 1 is undecided, 1 not judged"
    assert claims_counted({"claims": []}) == "no claims"


def test_a_run_knows_its_rows():
    losses = {"rows": [{"name": "none", "runs": {"0": "a", "1": None}}, {"name": "both", "runs": {"0": "b"}}]}
    slots = {"rows": [{"name": "K=4", "runs": {"0": "b"}}]}
    found = rows_of_runs([("losses (toy)", losses), ("slots (toy)", slots)])
    assert found == {"a": "losses (toy): none", "b": "losses (toy): both; slots (toy): K=4"}


def test_the_demos_result_is_read_only_where_it_is_its():
    summary = {"data": "Object Actions (toy)", "top1": 0.36, "control_top1": 0.14, "chance": 0.0625}
    accuracies, scores = demo_rows(summary | {"objects_jf": {"slots": 0.09, "grid": 0.16}})
    assert accuracies == [("full method", 36.0), ("no temporal module", 14.000000000000002), ("chance", 6.25)]
    assert [name for name, _ in scores] == ["full method's slots", "a fixed grid"]
    assert demo_rows({"top1": 0.3}) == ([], []) and demo_rows(summary | {"objects_jf": 3})[1] == []


def test_rows_as_published_are_not_counted_among_those_to_be_done():
    def table(*states: str) -> dict:
        return {"rows": [{"status": state} for state in states]}

    assert rows_done(table("published", "done", "done")) == "2 rows"
    assert rows_done(table("published", "done", "missing: not run yet")) == "1 of 2 rows done"
