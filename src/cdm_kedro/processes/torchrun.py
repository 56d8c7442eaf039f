"""torchrun that ends when its parent does: ``python -m cdm_kedro.processes.torchrun`` and torchrun's arguments.

Its workers end with it; without this a killed pipeline would leave them running.
"""

from torch.distributed.run import main

from cdm_kedro.processes.worker import begin

if __name__ == "__main__":
    begin()
    main()
