"""Coverage-guided fuzzing of every parser of outside bytes, and the same trials in short for every test run.

    seeds ──► libFuzzer (`make fuzz`), or a plain mutator (test_targets.py) ──► bytes
                                                                                  │
        a target: reads choices off the bytes, speaks to the parser, and raises when a promise is broken

What a target accepts as right is said by an oracle of its own: it never asks the code under trial. Genuine
bytes come from the sandbox, in process; nothing here opens a socket.
"""
