"""`hub up`: all four services in one process, with whatever broker and database are configured, or none."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from shared.ops.demo.play import Demo
from shared.ops.demo.provider import pretend_provider
from shared.ops.demo.screen import Screen
from shared.runtime import House
from shared.runtime.service import run, services
from shared.settings import Settings, load
from shared.telemetry.logging import configure_logging

#: What a shell makes of Ctrl-C.
INTERRUPTED = 130

#: The demo's compressed time: a race-day race is asked for every five seconds instead of every minute.
COMPRESSED = {
    "HUB_INTERVAL_RACEDAY_SECONDS": "5",
    "HUB_DISCOVERY_SECONDS": "20",
    "HUB_TICK_SECONDS": "0.5",
}


def up(*, demo: bool = False) -> int:
    """Run until told to stop; the exit code. Raises Stop, Later."""
    if demo:
        try:
            return asyncio.run(_demo())
        except KeyboardInterrupt:  # before anything was running
            return INTERRUPTED
    settings = load(Settings)
    configure_logging(settings.log_format, settings.log_level)
    asyncio.run(run(list(services()), settings))
    return 0


async def _demo() -> int:
    """Embedded, in a folder of its own that is removed at the end, whatever the environment says of databases."""
    for name in [each for each in os.environ if each.startswith(("HUB_", "DB_"))]:
        del os.environ[name]
    os.environ.update(COMPRESSED)
    screen = Screen(Console(no_color=True if os.environ.get("NO_COLOR") else None))
    with tempfile.TemporaryDirectory(prefix="hub-demo-") as folder, (Path(folder) / "hub.log").open("w") as logs:
        configure_logging("json", "INFO", logs)
        screen.say("Starting a pretend RunSignUp with 13 timing partners (everybody in it is invented) ...")
        async with pretend_provider("--world", "full") as provider:
            settings = load(Settings, _env_file=None, home=Path(folder), runsignup_base_url=provider.url)
            demo: Demo | None = None

            async def guest(house: House) -> None:
                nonlocal demo
                demo = Demo(house, provider, screen)
                await demo.play()

            await run(list(services()), settings, guest=guest)
        if demo is None or not demo.is_over:
            screen.say("Stopped before the end; the folder with its database is removed.")
            return INTERRUPTED
        if demo.exit_code:
            logs.flush()
            print("The last lines of the log:", file=sys.stderr)
            for line in (Path(folder) / "hub.log").read_text().splitlines()[-10:]:
                print(f"  {line}", file=sys.stderr)
        return demo.exit_code
