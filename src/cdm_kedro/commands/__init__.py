"""Commands that `kedro` gains in this project; each module imports only what `kedro --help` can afford."""
