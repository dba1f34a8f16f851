"""`python -m tenfold_platform <process>`: what `tenfold up` and container images run."""

import sys

from tenfold_platform.processes import run_process

if __name__ == "__main__":
    run_process(sys.argv[1])
