#!/bin/sh
# make_venv.sh FOLDER: make a virtual environment from $PYTHON, or else from the first Python that will do.
# Python 3.11 to 3.13 are what the lock was made for; a newer one is taken only when there is none of those.

try() { # try MAXIMUM COMMAND: the environment is made, or this Python is not the right one
    "$2" -c "import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= $1)" 2>/dev/null || return 1
    echo "making $folder with $("$2" --version)"
    "$2" -m venv "$folder"
}

folder=$1
for maximum in "(3, 13)" "(3, 99)"; do
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        try "$maximum" "$python" && exit 0
    done
done
echo "no Python 3.11 or newer with venv was found${PYTHON:+ at $PYTHON}; install one (on Debian also python3-venv) or name it: make PYTHON=/path/to/python3" >&2
exit 1
