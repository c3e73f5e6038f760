"""Starts the program that the wheel put beside this Python, where its folder is not on PATH."""

import os
import subprocess
import sys
import sysconfig

NAME = "memspec-lint" + (".exe" if os.name == "nt" else "")


def program():
    """Where pip puts programs: this environment's folder, else the user's (`pip install --user`)."""
    schemes = [None, os.name + "_user"]
    folders = [sysconfig.get_path("scripts", *([scheme] if scheme else [])) for scheme in schemes]
    for folder in folders:
        path = os.path.join(folder, NAME)
        if os.path.isfile(path):
            return path
    sys.exit("memspec_lint: %s is in none of %s\n  help: pip install --force-reinstall memspec-lint" % (NAME, ", ".join(folders)))


def main():
    path = program()
    if os.name == "nt":
        sys.exit(subprocess.call([path] + sys.argv[1:]))
    os.execv(path, [path] + sys.argv[1:])


if __name__ == "__main__":
    main()
