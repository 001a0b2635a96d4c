"""torchvision, open_clip and timm import in a fresh process, whatever torch is installed beside them."""

import os
import subprocess
import sys
from pathlib import Path

PLATFORM = Path(__file__).resolve().parents[1] / "platform"


def in_fresh_process(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(PLATFORM)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_clip_libraries_import_and_transforms_compute():
    done = in_fresh_process(
        "from objadapt import torchvision_compat\n"
        "import open_clip, timm, torch, torchvision\n"
        "from torchvision.transforms import v2\n"
        "picture = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)\n"
        "assert torch.equal(v2.functional.horizontal_flip(picture), picture.flip(-1))\n"
        "assert v2.RandAugment()(picture).shape == picture.shape\n"
        "assert torchvision_compat.torchvision is torchvision\n"
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_declared_when_torchvision_imports_by_itself():
    plain = in_fresh_process("import torchvision")
    done = in_fresh_process("from objadapt import torchvision_compat as c; print(c._declared is None)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(plain.returncode == 0)


def test_other_failures_of_the_import_are_not_hidden(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a different disaster')")
    done = in_fresh_process(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport objadapt.torchvision_compat")
    assert done.returncode != 0 and "a different disaster" in done.stderr
