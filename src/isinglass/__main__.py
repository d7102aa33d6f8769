"""``python -m isinglass`` and the ``isinglass`` command."""

import sys


def main() -> None:
    """Runs the command line; say what to install if its packages are missing."""
    try:
        from isinglass.errors import MissingExtraError

        try:
            from isinglass.cli import run
        except MissingExtraError as error:
            sys.exit(f"isinglass: {error}")
        sys.exit(run(sys.argv[1:]))
    except MemoryError:  # the same, of imports
        sys.stderr.write("isinglass: there is not enough memory to begin\n")
        sys.exit(1)
    except KeyboardInterrupt:  # ``run`` answers for itself; this is the second of imports
        sys.stderr.write("isinglass: stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
