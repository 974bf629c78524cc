"""A blind audit: evidence by access and budget, accusations, and only then the truth."""

from dataclasses import dataclass

import torch

ACCESS = {
    "black": ("black",),
    "grey": ("black", "grey"),
    "white": ("black", "grey", "white"),
    "black + outside": ("black", "outside"),
    "white + outside": ("black", "grey", "white", "outside"),
}
BUDGETS = ("small", "medium", "large")


@dataclass(frozen=True)
class Test:
    """One test of an auditor, run on healthy controls and on the boxes.

    Attributes:
        name: what the page calls it.
        level: the access it needs: black, grey, white or outside.
        controls: scores (budgets, controls) of models known to be healthy.
        boxes: scores (budgets, boxes).
        cost: forward passes for one model, (budgets,).
    """

    name: str
    level: str
    controls: torch.Tensor
    boxes: torch.Tensor
    cost: torch.Tensor

    def strength(self, budget):
        """Each box's score in units of the gap from the controls' median to their largest, (boxes,): above 1 is an alarm.

        A healthy box exceeds all n controls with probability 1/(n + 1): that is the false-alarm rate of one test.
        """
        controls = self.controls[budget].double()
        middle, top = controls.median(), controls.max()
        return (self.boxes[budget].double() - middle) / (top - middle).clamp(min=1e-9)


@dataclass(frozen=True)
class Game:
    """Boxes with hidden contents.

    Attributes:
        tests: the tests, a list.
        kinds: what is in the boxes.
        healthy: the kinds that carry no fault.
    """

    tests: list
    kinds: list
    healthy: tuple = ("clean", "control")

    @property
    def names(self):
        """A, B, C …"""
        return [chr(65 + i) for i in range(len(self.kinds))]

    @property
    def sick(self):
        """Which boxes carry a fault, a list of bool."""
        return [kind not in self.healthy for kind in self.kinds]

    def evidence(self, access, budget):
        """Names of the tests that this access permits, and their strengths (tests, boxes)."""
        if access not in ACCESS or budget not in BUDGETS:
            raise ValueError(
                f"access, budget = {access!r}, {budget!r}: expected one of {list(ACCESS)} and of {list(BUDGETS)}"
            )
        allowed = [test for test in self.tests if test.level in ACCESS[access]]
        return [test.name for test in allowed], torch.stack([test.strength(BUDGETS.index(budget)) for test in allowed])

    def alarms(self, access, budget):
        """Boxes that some permitted test rings for, (boxes,) bool."""
        return (self.evidence(access, budget)[1] > 1).any(0)

    def cost(self, access, budget):
        """Forward passes for one box: all permitted tests."""
        return sum(int(t.cost[BUDGETS.index(budget)]) for t in self.tests if t.level in ACCESS[access])

    def score(self, accused):
        """Faults found, false accusations: for a list of box names or a bool mask."""
        mask = [name in accused for name in self.names] if isinstance(accused, (str, list)) else list(map(bool, accused))
        return sum(a and s for a, s in zip(mask, self.sick, strict=True)), sum(
            a and not s for a, s in zip(mask, self.sick, strict=True)
        )

    def accuse(self, *accused):
        """Name boxes, then see what was in them: the end of a live game."""
        unknown = [name for name in accused if name not in self.names]
        if unknown:
            raise ValueError(f"accused = {unknown}: expected names of boxes, {self.names[0]} to {self.names[-1]}")
        found, false = self.score(list(accused))
        for name, kind in zip(self.names, self.kinds, strict=True):
            print(f"{name}: {kind}{'  <- accused' if name in accused else ''}")
        print(f"{found} of {sum(self.sick)} faults found, {false} false accusations")

    def __call__(self, access, budget):
        """Print the evidence: the start of a live game."""
        tests, strength = self.evidence(access, budget)
        print(f"{access}, {budget} budget: {self.cost(access, budget)} forward passes a box; above 1 rings")
        print(" " * 24 + "".join(f"{name:>7}" for name in self.names))
        for test, row in zip(tests, strength, strict=True):
            print(f"{test:24}" + "".join(f"{value:7.2f}" for value in row.tolist()))


def draw_boxes(zoo, wishes, seed):
    """Members to hide in boxes, in random order: the last `wishes[kind]` of each kind, (boxes,) int64."""
    members = torch.cat([zoo.of(kind)[-count:] for kind, count in wishes.items()])
    return members[torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))]
