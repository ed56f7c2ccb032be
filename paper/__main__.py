"""The command `python paper NOTEBOOK ...`; see execute.py."""

import signal
import sys
from pathlib import Path

if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until all is imported: there is nothing to clean up
sys.path[0] = str(Path(__file__).resolve().parent)  # some modules are imported later, from another folder

from execute import main  # noqa: E402

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # end the kernels, remove the stages
    if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
        signal.signal(number, signal.default_int_handler)
sys.exit(main())
