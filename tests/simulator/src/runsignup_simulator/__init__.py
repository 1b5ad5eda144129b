"""A faithful stand-in for RunSignUp: `generate` a world, ask it with `respond`, or `serve` it over HTTP."""

from .generate import generate
from .plan import FULL, SMALL, WorldPlan, bench_plan
from .policy import Policy
from .requests import Request, parse_request
from .respond import respond
from .responses import Response
from .server import Server, serve
from .simulator import Simulator
from .world import World

__all__ = [
    "FULL", "SMALL", "Policy", "Request", "Response", "Server", "Simulator", "World", "WorldPlan",
    "bench_plan", "generate", "parse_request", "respond", "serve",
]  # fmt: skip
