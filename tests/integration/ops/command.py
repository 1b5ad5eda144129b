"""The real `hub`, as its operator starts it: a process of its own, with nothing but an environment."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.cells import cell_len

from shared.secrets import new_key

SECRET = "s3cret-Quorvexil"  # must never be seen again


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its output, as the one JSON document that it is."""
        return orjson.loads(self.out)

    @property
    def said(self) -> str:
        """Its output as one line, wherever it was wrapped."""
        return " ".join(self.out.split())

    @property
    def sentence(self) -> str:
        """Its one-sentence error, likewise."""
        said = " ".join(self.err.split())
        assert said.startswith("hub: ")
        assert said.count("hub: ") == 1, said
        return said.removeprefix("hub: ")


def too_wide(text: str) -> list[str]:
    """Lines of more than 80 columns that could have been wrapped."""
    return [line for line in text.splitlines() if cell_len(line) > 80 and " " in line.strip()]


class Hub:
    """Runs commands against one database."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder  # no .env of a developer's is in it
        self.settings = {"HUB_SECRET_KEY": new_key(), "HUB_HOME": str(folder / "home"), **settings}

    async def start(self, *words: str, **settings: str) -> asyncio.subprocess.Process:
        """Start a command, to be talked to."""
        environment = {
            **os.environ,
            "PYTHONDEVMODE": "",
            "NO_COLOR": "1",
            "COLUMNS": "80",
            **{name: value for name, value in {**self.settings, **settings}.items() if value},
        }
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("hub")),
            *words,
            env=environment,
            cwd=self.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *words: str, said: str = "", seconds: float = 60, **settings: str) -> Result:
        """Run a command to its end; nothing it says may hold the secret, or anybody's trace."""
        process = await self.start(*words, **settings)
        try:
            out, err = await asyncio.wait_for(process.communicate(said.encode()), seconds)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        result = Result(process.returncode, out.decode(), err.decode())
        for text in (result.out, result.err):
            assert SECRET not in text
            assert "Traceback" not in text
            assert "Warning" not in text
            assert "--json" in words or too_wide(text) == []
        return result
