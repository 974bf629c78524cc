"""The older kind of claim: judged once, by a predicate with its own bounds. It leaves with the last chapter that has it."""

_FUNCTIONS = {"__builtins__": {}, "abs": abs, "all": all, "any": any, "max": max, "min": min, "sum": sum, "len": len}


class Predicates:
    """What `Claims` inherits until the last chapter judges by replicates."""

    def add(self, name, says, *, source, paper, here, predicate, spread="", finding="", **values):
        """Record a claim and judge it by `predicate`, a Python expression on `values`; `finding` says why it may fail."""
        from .claims import FAILS, HOLDS, UNJUDGED

        identity = f"{self.chapter}/{name}"
        if name in self._rows:
            raise ValueError(f"name = {name!r}: expected a name that no other claim of {self.chapter} has")
        try:
            true = bool(eval(predicate, _FUNCTIONS | values))  # the chapter's own text, never a user's
        except Exception as error:
            raise ValueError(f"predicate = {predicate!r}: expected an expression on {sorted(values)} ({error})") from error
        self._rows[name] = {
            "id": identity,
            "says": says,
            "origin": "ours" if source == "ours" else "implied" if "implied" in source else "paper",
            "source": source,
            "paper": paper,
            "here": here,
            "values": {},
            "low": {},
            "high": {},
            "units": "not resampled",
            "condition": predicate,
            "premise": "",
            "share": float(true),
            "verdict": UNJUDGED if self.scale == "smoke" else HOLDS if true else FAILS,
            "scale": self.scale,
            "seed": self.seed,
            "finding": finding,
            "spread": spread,
        }
