"""`python -m paymux` is `paymux`."""

from paymux.cli.main import main

main()
