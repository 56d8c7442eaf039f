"""A torchrun that ends with its parent: ``python -m cdm_kedro.processes.torchrun`` takes torchrun's arguments.

Its workers end with it. Without this, a killed pipeline would leave them running.
"""

import os

from torch.distributed.run import main

from cdm_kedro.processes.worker import PARENT, begin

if __name__ == "__main__":
    begin()
    os.environ[PARENT] = str(os.getpid())
    main()
