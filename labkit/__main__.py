"""`python -m labkit` is the `labkit` command."""

from labkit.cli import app

if __name__ == "__main__":
    app(prog_name="labkit")
