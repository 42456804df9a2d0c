"""What answers: the protocol, the four tasks, and the embedded reasoner.

Promise: every reasoner answers the same closed-world schema; nothing here knows users, files or graphs.
"""
