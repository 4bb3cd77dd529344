"""Checkers: what must be true, said a second time and in other words than the gateway's.

None of them asks the gateway's own code what is right. They see bytes on the road, rows as SQLite commits
them, answers as tills read them, and the wallets' books.
"""
