"""torch.compile where it works, plain execution where it does not."""

import logging
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger(__name__)


def compiled(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Compile a function when it is first called; from the first failure on, call it plainly."""
    active: list[Callable[..., Any]] = [torch.compile(function)]

    def call(*args: Any) -> Any:
        if active[0] is function:
            return function(*args)
        try:
            return active[0](*args)
        except Exception as error:  # the compiler's failures have no common type; a real error comes again below
            log.warning("torch.compile of %s failed, going on without it: %s", name, str(error).splitlines()[0][:300])
            active[0] = function
            return function(*args)

    return call
