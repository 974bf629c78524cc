"""A process for one implementation of one problem, so that its memory is its own and it can be stopped."""

import multiprocessing
import os

import torch

from . import machine
from .peers import PEERS


def _serve(pipe, implementation, problem, device, cores):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # JAX offers no other way
    torch.set_num_threads(len(cores))
    empty, run = machine.memory("VmRSS"), None
    for order, *numbers in iter(pipe.recv, None):
        try:
            if order == "build":
                run = None  # frees the last one before there is a next one
                nets, steps = numbers
                run = PEERS[implementation](problem, nets, device)
                run(steps)
                if device == "cpu":
                    peak = machine.memory("VmHWM")
                    pipe.send(None if peak is None else peak - empty)
                else:
                    pipe.send(torch.cuda.max_memory_allocated())
            else:
                begin = machine.clock(device)
                run(steps)
                pipe.send([end - start for start, end in zip(begin, machine.clock(device), strict=True)])
        except Exception as reason:
            pipe.send(f"{type(reason).__name__}: {(str(reason).splitlines() or [''])[0][:120]}")


class Worker:
    """The process, from the other side. After a failure it is gone and `failure` says why."""

    def __init__(self, implementation, problem, device, cores):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, implementation, problem, device, cores))
        self.process.start()
        other.close()
        self.failure = None

    def build(self, nets, steps, patience):
        """Peak bytes above an empty process (on a card: allocated there), after a first run of `steps` steps."""
        return self._ask(patience, "build", nets, steps)

    def time(self, patience):
        """CPU seconds and seconds on the wall of another such run."""
        return self._ask(patience, "time")

    def _ask(self, patience, *order):
        answer = f"took longer than {patience:.0f} s"
        try:
            self.pipe.send(order)
            if self.pipe.poll(patience):
                answer = self.pipe.recv()
        except (EOFError, OSError):
            answer = "the process ended, probably for want of memory"
        if isinstance(answer, str):
            self.failure = answer
            self.process.kill()
        return answer

    def stop(self):
        """End the process, by force if it is busy."""
        if self.failure is None:
            self.pipe.send(None)
            self.process.join(5)
        self.process.kill()
        self.process.join()
