"""Print the last line that pytest wrote in each environment of a tox run.

Usage: python tools/matrix_summary.py RESULT.json, a file that `tox --result-json` made.
"""
import json
import sys


def main(path):
    """Print one line for each environment that ran tests."""
    with open(path) as file:
        environments = json.load(file)["testenvs"]
    for name, environment in environments.items():
        lines = [line for run in environment.get("test", []) for line in run["output"].splitlines() if line]
        if lines:
            print("{:20} {}".format(name, lines[-1].strip("= ")))


if __name__ == "__main__":
    main(*sys.argv[1:])
