"""Fail when a user's type checker would find a public name of the installed package without a known type.

Names whose type is inferred, which checkers may do differently, are counted and printed, and are no failure.
"""
import json
import subprocess
import sys

COMMAND = "basedpyright --verifytypes pistoke --ignoreexternal --outputjson --pythonpath"


def main():
    """Print the counts of basedpyright; exit with 1 where a type is unknown or nothing was found to check."""
    done = subprocess.run(COMMAND.split() + [sys.executable], stdout=subprocess.PIPE, check=False)
    found = json.loads(done.stdout.decode("utf-8"))["typeCompleteness"]
    counts = found["exportedSymbolCounts"]
    print("known {withKnownType}, inferred {withAmbiguousType}, unknown {withUnknownType}".format(**counts))
    for symbol in found["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]:
            print("unknown: {}".format(symbol["name"]))
    sys.exit(counts["withUnknownType"] > 0 or counts["withKnownType"] == 0)


if __name__ == "__main__":
    main()
