"""How the processes of one training stop after the same step."""

import torch
import torch.distributed as dist


class Agreement:
    """Tells all processes, after the same step, that one of them was asked to stop.

    Each process says before every step whether it was asked, and hears then what all said before the last one. So the
    host waits at most for the step before the one that the device is at, and the device never waits for the host.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size, cuda = size, device.type == "cuda"
        self.said, self.heard = torch.zeros((), device=device), torch.zeros((), pin_memory=cuda)
        self.arrived = torch.cuda.Event() if cuda else None

    def __call__(self, asked: bool) -> bool:
        """Whether to stop now; a process alone does so as soon as it is asked."""
        if self.size == 1:
            return asked
        if self.arrived is not None:
            self.arrived.synchronize()
        stop = bool(self.heard)
        self.said.fill_(asked)
        dist.all_reduce(self.said, dist.ReduceOp.MAX)
        self.heard.copy_(self.said, non_blocking=True)
        if self.arrived is not None:
            self.arrived.record()
        return stop
