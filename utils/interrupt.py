"""Ctrl-C at any moment, slow imports included: one line and exit status 130.

A step imports this first, when it is run as a script. The process leaves at once, without waiting
for its worker threads: what they had in hand is made again by the next run, which also removes
their temporary files. This module imports nothing that takes time.
"""

import os
import signal

EXIT_INTERRUPTED = 130
_MESSAGE = b"interrupted; run the same command again to go on\n"


def stop_quietly() -> None:
    """End this process in one line on SIGINT, from now on."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # nohup and the like
        signal.signal(signal.SIGINT, _leave)


def _leave(_signal, _frame) -> None:
    # os.write, not print: a handler may have interrupted a print
    line_begun = os.isatty(2)  # by the progress bar, which is drawn on terminals only
    os.write(2, (b"\n" if line_begun else b"") + _MESSAGE)
    os._exit(EXIT_INTERRUPTED)
