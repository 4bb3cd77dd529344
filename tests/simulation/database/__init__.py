"""What a town keeps its orders in: one seam for both engines, with faults of their own and the same witness.

`contract.py` says what a town needs, `witness.py` what checkers see of each commit. `sqlite.py` is a file in
memory whose disk has moods. PostgreSQL is a real server: `postgres.py` puts it into the town, `server.py`
speaks to it while virtual time stands still, `cables.py` and `moods.py` say how long that takes and what gets
lost.
"""
