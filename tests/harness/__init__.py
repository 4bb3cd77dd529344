"""What scenario tests stand on: a whole gateway and both wallets in one process, in virtual time."""
