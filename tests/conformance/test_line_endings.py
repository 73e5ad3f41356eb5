"""A checkout has LF line endings on every machine, because scripts with CR do not run."""

import subprocess
from pathlib import Path

from tests.fleet_under_test import ROOT


def test_checkout_with_autocrlf_has_no_carriage_return(tmp_path: Path) -> None:
    subprocess.run(
        [
            *("git", "-c", "core.autocrlf=true", "checkout-index", "--all"),
            f"--prefix={tmp_path}/",
        ],
        cwd=ROOT,
        check=True,
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / ".ci" / "run" in files
    texts = {path: path.read_bytes() for path in files}
    wrong = [path for path, text in texts.items() if b"\r\n" in text and b"\0" not in text]
    assert not wrong
