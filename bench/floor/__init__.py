"""No gateway at all: what a signed call, a wallet call and two commits cost on this machine."""
