"""Real brokers for the tests, each in a folder and on ports of its own.

`machine` gets what is missing, `process` starts and ends programs, `instance` is what all brokers
have in common, and each broker has a file that knows only that broker.
"""
