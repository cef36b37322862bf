//! Keys, rows, datums and timestamps, byte-compatible with TiDB.
