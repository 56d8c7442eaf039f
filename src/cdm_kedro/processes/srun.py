"""One of several nodes' processes under Slurm: ``srun … python -m cdm_kedro.processes.srun module job``.

It runs the worker's module with the variables that torchrun would have set. srun passes USR1 on to all processes, but
kills them when it gets TERM itself; so a request to save and stop comes as USR1 and is TERM for the worker.
"""

import os
import runpy
import signal
import sys

from cdm_kedro.processes.worker import FOLLOWER


def main() -> None:
    """Become the worker."""
    names = {"RANK": "PROCID", "WORLD_SIZE": "NTASKS", "LOCAL_RANK": "LOCALID", "MASTER_ADDR": "LAUNCH_NODE_IPADDR"}
    os.environ.update({name: os.environ[f"SLURM_{theirs}"] for name, theirs in names.items()})
    if os.environ["SLURM_NODEID"] != "0":
        os.environ[FOLLOWER] = "1"
    signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
