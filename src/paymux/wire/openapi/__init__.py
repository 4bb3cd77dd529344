"""What the gateway serves, described: `/openapi.json` for machines, `/docs` for people.

What the code has as a table (codes, statuses, limits) is taken from there. What it has as code (which
fields a request has, how long they may be, which are needed) is written down here; tests hold the two equal.
"""
