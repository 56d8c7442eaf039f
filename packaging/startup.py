"""Runs whenever Python starts in this environment: hatch-autorun puts it there (pyproject.toml).

It does nothing unless the program is DVC; that becomes as careful with locks and records as `kedro run`.
"""

import os
import sys

if sys.orig_argv[1:3] == ["-m", "dvc"] or os.path.basename("".join(sys.orig_argv[1:2])) == "dvc":
    from cdm_kedro.provenance.stock_dvc import as_program

    as_program()
