"""Who computes and who waits: within a process by flights, between processes by leases."""

from __future__ import annotations

from dynmemo.leases.inflight import Flight, Flights, Leading, Waited, flights, led
from dynmemo.leases.lease import Lease, Leases, Spot
from dynmemo.leases.watch import Verdict, Watch, is_deadlock, waiting_for_row, waiting_here

__all__ = [
    "Flight",
    "Flights",
    "Leading",
    "Lease",
    "Leases",
    "Spot",
    "Verdict",
    "Waited",
    "Watch",
    "flights",
    "is_deadlock",
    "led",
    "waiting_for_row",
    "waiting_here",
]
