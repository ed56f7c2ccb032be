"""The command `python paper NOTEBOOK ...`; see execute.py."""

import contextlib
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Only variables by which programs, files and networks are found reach a run. Others change its numbers
# (ATEN_CPU_CAPABILITY), its notebooks (TORCH_LOGS) or what Python does (PYTHONINSPECT).
PASSED = "PATH HOME USER LOGNAME TMPDIR LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH CUDA_VISIBLE_DEVICES"
PASSED += " LOKY_MAX_CPU_COUNT SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE"
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
OWN = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"}
# joblib's resource trackers clean up after killed kernels; that is no reason to warn.
OWN |= {"PYTHONWARNINGS": "ignore:resource_tracker", "PAPER_ENVIRONMENT": "own"}
# Settings of Jupyter, IPython and matplotlib are not the user's, whose home may also be read-only.
for folder in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
    OWN[folder] = str(HERE.parent / "build" / "settings" / folder.lower())
    with contextlib.suppress(OSError):  # execute.py says what cannot be written to
        os.makedirs(OWN[folder], exist_ok=True)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def passes(name: str) -> bool:
    """Whether a variable of the user's reaches a run."""
    return name in PASSED.split() or name.lower() in PROXIES or name.startswith("DASK_")


def interrupt(*_: object) -> None:
    """End kernels and remove stages, in which a second signal must not interfere."""
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """Let nothing but SIGKILL end this process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if os.environ.get("PAPER_ENVIRONMENT") != "own":
    for number in range(3):  # a closed stream's number would be given to another file
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until they are heard below
    variables = OWN | {name: value for name, value in os.environ.items() if passes(name)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], variables)

heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # others: nohup
for number in heard:
    signal.signal(number, signal.SIG_DFL)  # until all is imported: there is nothing to clean up
signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
sys.path[0] = str(HERE)  # some modules are imported later, from another folder

from execute import main  # noqa: E402

for number in heard:
    signal.signal(number, interrupt)
status = 1
try:
    try:
        status = main()
    finally:
        ignore_signals()
        sys.stdout.flush()
        sys.stderr.flush()
except OSError:  # what is printed cannot be written any more, as when it goes to `head`
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
sys.exit(status)
