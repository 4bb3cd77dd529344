"""Counterfeit wallets: Alipay and WeChat Pay on loopback, true to the wire, to try everything without money.

A house of its own: it imports nothing of the gateway, so that its books are a second witness. `world.py` is
the whole sandbox as a pure, repeatable machine (calls in, replies and callbacks out); `server.py` puts it on
sockets.
"""
