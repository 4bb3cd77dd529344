"""A town under fire: seeded days of trade, with every fault we know of, and checkers that trust nobody.

    seed ──► weather ──► day ──► history ──► hash, or a story of what went wrong
                          │
       tills, merchants' servers, operators, intruders      people.py, tills.py
       gateway processes that die and come back             process.py
       roads that lose, delay, double and garble            roads.py
       both wallets, a real SQLite                          paymux.sandbox, paymux.storage
                          │
       checkers: sent (to wallets), kept (in the database), told (to tills and merchants), books

Nothing here sleeps, opens a socket or rolls dice that the seed did not give: the same seed is the same day,
byte for byte.
"""
