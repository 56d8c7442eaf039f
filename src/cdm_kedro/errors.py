"""The base of every error and interruption that this package raises on purpose."""

import click


class CdmError(click.ClickException, ValueError):
    """An error whose message says what is wrong and what to do; every command shows it without a traceback."""


class CdmInterrupted(BaseException):
    """Work that a signal stopped after it saved what was done; ``code`` is 128 plus the signal's number.

    The message says what was stopped, and what is kept.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
