"""Ctrl-C in a program of many processes: one line, instead of a traceback from each."""

import logging
import os
import signal
import sys

import psutil


def ends_all(message: str) -> None:
    """From now on Ctrl-C ends this process and all that it has started, whatever they are doing, and says `message`."""

    def end(*_):
        logging.disable()
        print(f"\n{message}", file=sys.stderr, flush=True)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(128 + signal.SIGINT)

    signal.signal(signal.SIGINT, end)


def is_for_the_parent() -> None:
    """From now on this process leaves Ctrl-C to the one that has started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
