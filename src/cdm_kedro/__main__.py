"""``python -m cdm_kedro`` is `kedro run` without the command `kedro`."""


def main() -> None:
    """Run pipelines of the project in the working directory."""
    from kedro.framework.project import configure_project

    from cdm_kedro.cli import run

    configure_project("cdm_kedro")
    run()


if __name__ == "__main__":
    main()
