//! SQL server: MySQL protocol, parser, planner, executor, DDL.
