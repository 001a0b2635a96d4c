"""What jobs share: bad input is one line and exit code 2, a bug keeps its traceback,
submitted jobs refuse relative places.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from objadapt import job
from objadapt.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]


def script(body: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run a job of the given main() in a process of its own."""
    lines = textwrap.indent(textwrap.dedent(body), "    ")
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'platform')!r})\n"
    code += f"from objadapt import job\nfrom objadapt.errors import InputError\ndef main():\n{lines}\njob.run(main)\n"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_bad_input_is_one_line_and_exit_code_2():
    done = script("raise InputError('data.root:\\n  not there')")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: data.root: not there\n")


def test_a_path_that_no_file_can_have_is_bad_input(tmp_path):
    done = script("open(300 * 'a')")
    assert done.returncode == 2 and done.stderr == f"error: {80 * 'a'}...: File name too long; give another path\n"
    (tmp_path / "loop").symlink_to("loop")
    for body in ("open(sys.argv[1])", "from pathlib import Path\nPath(sys.argv[1]).resolve()"):
        done = script(body, str(tmp_path / "loop"))
        assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert done.stderr.endswith("; give another path\n") and f"{tmp_path}/loop" in done.stderr


def test_a_bug_keeps_its_traceback():
    done = script("raise ValueError('ours')")
    assert done.returncode == 1 and "Traceback" in done.stderr and "ValueError: ours" in done.stderr


def test_an_interrupt_says_how_to_go_on():
    for command, goes_on in (("jobs/train.py", True), ("objadapt extract-features", True), ("jobs/predict.py", False)):
        done = script(f"sys.argv[0] = {command!r}\nraise KeyboardInterrupt")
        assert done.returncode == 130 and done.stderr.startswith("interrupted") and done.stderr.count("\n") == 1
        assert ("the same command goes on" in done.stderr) == goes_on, command


CONFIG_JOB = """
    options = job.parser("A job.")
    job.add_config_options(options)
    config = job.config_from(options.parse_args())
    print(config.name, config.method.slots.number)
"""


def test_config_options_of_a_job(tmp_path):
    (tmp_path / "c.yaml").write_text("name: mine\nmethod: {slots: {number: 5}}\n")
    assert script(CONFIG_JOB, "--config", str(tmp_path / "c.yaml")).stdout == "mine 5\n"
    assert (
        script(CONFIG_JOB, "--config", str(tmp_path / "c.yaml"), "method.slots.number=6", "name=other").stdout
        == "other 6\n"
    )
    for wrong in (["method.slots.number=0"], ["nonsense"], ["--config", str(tmp_path / "absent.yaml")], ["modle.x=1"]):
        done = script(CONFIG_JOB, *wrong)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert script(CONFIG_JOB, "--unknown").returncode == 2
    shown = script(CONFIG_JOB, "--help").stdout
    assert "--config NAME|FILE" in shown and "--json FILE" in shown and "key.sub=value" in shown


def parsed(*arguments: str):
    options = job.parser("A job.")
    job.add_config_options(options)
    return options.parse_args(arguments)


@pytest.mark.parametrize(
    "relative, key",
    [
        ("data.root=data", "data.root"),
        ("output=out", "output"),
        ("backbone.weights=w.pt", "backbone.weights"),
        ("tracking.uri=sqlite:///mlflow.db", "tracking.uri"),
    ],
)
def test_a_submitted_job_refuses_places_that_would_vanish(relative, key, monkeypatch):
    absolute = [
        "output=/mnt/out",
        "data.root=/mnt/data",
        "backbone.weights=s3://bucket/w.pt",
        "tracking.uri=sqlite:////mnt/m.db",
    ]
    assert job.config_from(parsed(relative))  # on one's own machine all is well
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert job.config_from(parsed(*absolute)).output == "/mnt/out"
    with pytest.raises(InputError, match=f"^{key}: .* is relative"):
        job.config_from(parsed(*absolute, relative))


def test_the_default_output_is_refused_under_submission_too(monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(InputError, match="^output: 'outputs' is relative"):
        job.config_from(parsed("data.root=/mnt/data"))


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.strip()


def test_the_codes_version(monkeypatch, tmp_path):
    monkeypatch.delenv("OBJADAPT_COMMIT", raising=False)
    assert job.commit().removesuffix("+changes") == git("rev-parse", "HEAD")
    monkeypatch.setattr(job, "REPOSITORY", tmp_path)  # copied without .git
    assert job.commit() == "unknown"
    monkeypatch.setenv("OBJADAPT_COMMIT", "abc123")  # what the submission hands on
    assert job.commit() == "abc123"
    monkeypatch.delenv("OBJADAPT_COMMIT")
    monkeypatch.setenv("PATH", str(tmp_path))  # no git on this machine
    assert job.commit() == "unknown"


def test_json_is_written_where_it_is_asked_for(tmp_path):
    job.write_json(None, {"a": 1})
    job.write_json(str(tmp_path / "deep" / "er" / "x.json"), {"a": 1, "path": Path("b")})
    assert json.loads((tmp_path / "deep" / "er" / "x.json").read_text()) == {"a": 1, "path": "b"}


def test_a_reader_that_has_seen_enough_ends_a_job_without_a_traceback():
    program = "from objadapt import job; job.run(lambda: [print('line', flush=True) for _ in range(100000)])"
    command = f'{sys.executable} -c "{program}" | head -1'
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY / "platform", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("line\n", "")


def test_a_path_is_relative_only_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert job.shown_path(tmp_path / "outputs" / "runs") == "outputs/runs"
    assert job.shown_path("outputs") == "outputs" and job.shown_path("..mine") == "..mine"
    assert job.shown_path(tmp_path.parent / "outputs") == str(tmp_path.parent / "outputs")
