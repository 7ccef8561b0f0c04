"""``python -m pyrite`` is the ``pyrite`` command."""

from pyrite.cli.main import main

main()
