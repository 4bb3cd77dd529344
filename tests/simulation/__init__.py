"""A town under fire: seeded days of trade, with every fault we know of, and checkers that trust nobody.

    seed ──► weather ──► day ──► history ──► hash, or a story of what went wrong
                          │
       tills, merchants' servers, operators, intruders      people.py, tills.py
       gateway processes that die and come back             process.py
       roads that lose, delay, double and garble            roads.py
       a real SQLite or PostgreSQL, and its bad days        database/
       both wallets                                         paymux.sandbox
                          │
       checkers: sent (to wallets), kept (in the database), told (to tills and merchants), books

Nothing here sleeps or rolls dice that the seed did not give, and everybody stands still while a database
server is spoken to: the same seed is the same day, byte for byte.
"""
