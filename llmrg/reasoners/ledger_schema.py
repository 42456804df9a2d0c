"""The ledger's tables, and the statements that change a row of its requests.

Promise: a ledger of any earlier version is brought to the newest one; nothing here opens a file.
"""

from __future__ import annotations

APPLICATION_ID = 0x4C4C4C47  # "LLLG"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # an ordinary rowid table with a UNIQUE hash takes rows several times as fast as WITHOUT ROWID
        """CREATE TABLE requests (
            id INTEGER PRIMARY KEY,
            hash TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            body BLOB NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            worst_tokens INTEGER NOT NULL DEFAULT 0,
            worst_usd REAL NOT NULL DEFAULT 0,
            lost INTEGER NOT NULL DEFAULT 0,
            lost_tokens INTEGER NOT NULL DEFAULT 0,
            lost_usd REAL NOT NULL DEFAULT 0,
            reply BLOB,
            reply_hash TEXT,
            model TEXT NOT NULL DEFAULT '',
            prompt_tokens INTEGER NOT NULL DEFAULT 0,
            completion_tokens INTEGER NOT NULL DEFAULT 0,
            cached_tokens INTEGER NOT NULL DEFAULT 0,
            usd REAL NOT NULL DEFAULT 0,
            seconds REAL NOT NULL DEFAULT 0,
            fault TEXT NOT NULL DEFAULT '',
            status INTEGER,
            message TEXT NOT NULL DEFAULT ''
        )""",
        "CREATE INDEX requests_by_state ON requests (state) WHERE state <> 'done'",
    ),
    (
        "ALTER TABLE requests ADD COLUMN batch INTEGER",  # the file it was last written to; null: asked online
        "CREATE INDEX requests_by_batch ON requests (batch) WHERE batch IS NOT NULL",
        """CREATE TABLE batches (
            number INTEGER PRIMARY KEY,
            digest TEXT NOT NULL,
            requests INTEGER NOT NULL,
            input_price REAL,
            output_price REAL,
            host_id TEXT NOT NULL DEFAULT '',
            ended INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE TABLE batch_failures (line TEXT PRIMARY KEY)",  # hashes of lines: each is one failed attempt
    ),
)
"""Statements that lead from version i to version i + 1. Append; never change one that was released."""

SEND = """INSERT INTO requests (hash, body, state, attempts, worst_tokens, worst_usd) VALUES (?, ?, 'sent', 1, ?, ?)
ON CONFLICT (hash) DO UPDATE SET
    lost = lost + (state = 'sent'),
    lost_tokens = lost_tokens + (state = 'sent') * worst_tokens,
    lost_usd = lost_usd + (state = 'sent') * worst_usd,
    state = 'sent', attempts = attempts + 1, worst_tokens = excluded.worst_tokens, worst_usd = excluded.worst_usd,
    batch = NULL"""
"""One more attempt of a row, new or not."""

SETTLE = """UPDATE requests SET
    state = 'done', attempts = max(attempts, 1), reply = ?, reply_hash = ?, model = ?,
    prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, usd = ?, seconds = ?,
    lost_tokens = lost_tokens + ? * worst_tokens, lost_usd = lost_usd + ? * worst_usd,
    fault = '', status = NULL, message = ''
WHERE hash = ? AND state <> 'done'"""
"""An answer; the first one stays."""

FAIL = """UPDATE requests SET state = ?, fault = ?, status = ?, message = ?, seconds = ?
WHERE hash = ? AND state <> 'done'"""
"""Why an attempt brought nothing."""
