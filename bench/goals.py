"""What paymux is to reach. Ratios are of CPU time, gateway and database together, within one run."""

from typing import Literal

import msgspec


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A bound and an aim for one finding of a part."""

    says: str
    part: str
    finding: str
    limit: float
    aim: float
    sense: Literal["at most", "at least"] = "at most"

    def is_met(self, value: float) -> bool:
        """Whether the bound is held."""
        return value <= self.limit if self.sense == "at most" else value >= self.limit


def _goal(says: str, part: str, finding: str, limit: float, aim: float) -> Goal:
    return Goal(says=says, part=part, finding=finding, limit=limit, aim=aim)


GOALS = (
    _goal(
        "pay, against pgbench with the same two commits",
        "pays",
        "pay paymux-postgres ÷ pay pgbench plain",
        0.9,
        0.5,
    ),
    _goal("pay, against the floor", "pays", "pay paymux-postgres ÷ pay floor-postgres", 2.2, 1.6),
    _goal(
        "pay, against the floor, both at one steady pace",
        "latency",
        "pay at one steady pace, paymux ÷ floor",
        2.2,
        1.6,
    ),
    _goal(
        "pay, against the conventional gateway",
        "pays",
        "pay paymux-postgres ÷ pay conventional-postgres",
        1 / 15,
        1 / 30,
    ),
    _goal(
        "query, against a bare handler with one SELECT",
        "pays",
        "query paymux-postgres ÷ query floor-postgres",
        2.5,
        1.7,
    ),
    _goal(
        "what RSA-2048 adds, against a bare sign and verify",
        "rsa",
        "added by RSA ÷ bare sign and verify",
        1.4,
        1.15,
    ),
    _goal("p99 of a pay at half load, against the floor", "latency", "p99 paymux ÷ floor", 2.5, 1.5),
    _goal("pay, most orders against 10,000", "growth", "pay CPU µs, most ÷ least orders", 1.25, 1),
    _goal("query, most orders against 10,000", "growth", "query CPU µs, most ÷ least orders", 1.25, 1),
    _goal("commits of a paid order with a notification", "writes", "commits that write, per order", 3, 3),
    _goal("row writes of it", "writes", "row writes per order", 14, 14),
    _goal("KB of log of it", "writes", "log per order", 4, 4),
    _goal("MB of memory after all pays", "endurance", "memory after all pays", 150, 150),
    Goal(
        says="two workers on two cores, against one (by CPU time: tills and wallet want the cores, too)",
        part="workers",
        finding="two workers ÷ one, if cores were free",
        limit=1.7,
        aim=2,
        sense="at least",
    ),
    _goal("idle with the most orders, % of a core", "growth", "idle with the most orders", 1, 1),
)
