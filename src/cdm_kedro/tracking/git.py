"""What git says of a folder."""

import shutil
import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    """Output of a git command in a folder, or an empty text where the command fails or there is no git."""
    if shutil.which("git") is None:
        return ""
    result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def commit() -> str | None:
    """Commit that is checked out in the working directory, or None outside git."""
    return git(Path.cwd(), "rev-parse", "HEAD") or None
