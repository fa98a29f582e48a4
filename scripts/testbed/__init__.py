"""Real brokers for the tests, each in a folder and on ports of its own.

`machine` installs what is missing, `process` starts and ends programs, `instance` has what all brokers
have in common, and each broker has a file of its own. `venv` installs Python packages for a script.
"""
