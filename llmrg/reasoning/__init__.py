"""The agent and its four components, the knowledge base, and the offline job.

Promise: thinking is pure (a generator of requests); only the offline job touches a store.
"""
