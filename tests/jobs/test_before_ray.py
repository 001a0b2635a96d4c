"""What a local Ray would have is known before it starts: dry runs, and refusals of what never fits, start none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_dry_runs_and_what_never_fits_start_no_ray(tiny_config, tmp_path):
    where = ["--config", str(tiny_config), f"output={tmp_path}"]
    many = "stream.encoder_cpus=100000"
    calls = [
        ["train", *where, "--dry-run"],
        ["train", *where, many],
        ["extract_features", *where, f"stream.cache={tmp_path}/features", "--dry-run"],
        ["extract_features", *where, f"stream.cache={tmp_path}/features", many],
    ]
    code = f"""
import contextlib, io, json, sys
sys.path.insert(0, {str(REPOSITORY / "platform")!r})
from objadapt import commands
for name, *rest in {calls!r}:
    sys.argv, code, err = ["objadapt", name, *rest], 0, io.StringIO()
    with contextlib.redirect_stdout(sys.stderr), contextlib.redirect_stderr(err):
        try:
            commands.main()
        except SystemExit as end:
            code = end.code
    import ray
    print(json.dumps([code, err.getvalue(), ray.is_initialized()]))
"""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}  # no RAY_ADDRESS
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (dry, train, stored, extract) = map(json.loads, done.stdout.splitlines())
    assert (dry[0], stored[0]) == (0, 0), done.stdout
    for code, said, _ in (train, extract):
        assert code == 2 and "100000 CPUs" in said.replace("100001", "100000"), said
    assert not any(started for *_, started in (dry, train, stored, extract))
