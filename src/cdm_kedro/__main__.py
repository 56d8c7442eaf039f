"""``python -m cdm_kedro``: the project's `kedro run`, for installed packages."""

from __future__ import annotations

from pathlib import Path


def main() -> None:
    """Run the command line of the project in the working directory."""
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    package = Path(__file__).parent.name
    configure_project(package)
    find_run_command(package)()


if __name__ == "__main__":
    main()
