"""The same work through two Python drivers: text and prepared statements, types, transactions, errors."""

import datetime
import decimal
import sys

import mysql.connector
import pymysql

PORT = int(sys.argv[1])
VALUES = (1, "Grüße ☃", decimal.Decimal("12.34"), 2.5, datetime.datetime(2024, 2, 29, 12, 30, 1), datetime.date(1999, 12, 31), None)


def check(what, seen, expected):
    assert seen == expected, f"{what}: {seen!r} instead of {expected!r}"


def work(connection, name, duplicate_error, cursor_options=None):
    cursor = connection.cursor(**(cursor_options or {}))
    cursor.execute("DROP DATABASE IF EXISTS drivers")
    cursor.execute("CREATE DATABASE drivers")
    cursor.execute("USE drivers")
    cursor.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(50), d DECIMAL(10,2), f DOUBLE, ts DATETIME, day DATE, n INT)"
    )
    cursor.execute("INSERT INTO t VALUES (%s,%s,%s,%s,%s,%s,%s)", VALUES)
    connection.commit()
    cursor.execute("SELECT * FROM t WHERE id = %s", (1,))
    check("row", cursor.fetchone(), VALUES)
    check("rest", cursor.fetchall(), [] if cursor_options is not None or "connector" in name else ())
    try:
        cursor.execute("INSERT INTO t (id) VALUES (%s)", (1,))
        raise AssertionError("a duplicate key was accepted")
    except duplicate_error as error:
        check("errno", error.args[0], 1062)
    connection.rollback()
    cursor.execute("INSERT INTO t (id, s) VALUES (%s, %s)", (2, "x"))
    connection.rollback()
    cursor.execute("SELECT COUNT(*) FROM t")
    check("count after rollback", cursor.fetchone()[0], 1)
    cursor.execute("UPDATE t SET f = f + 1 WHERE id = %s", (1,))
    check("rows updated", cursor.rowcount, 1)
    connection.commit()
    cursor.close()
    connection.close()
    print(f"{name}: ok")


work(
    pymysql.connect(host="127.0.0.1", port=PORT, user="root", charset="utf8mb4"),
    f"PyMySQL {pymysql.__version__}",
    pymysql.err.IntegrityError,
)
for pure in (True, False):
    try:
        connection = mysql.connector.connect(host="127.0.0.1", port=PORT, user="root", use_pure=pure, charset="utf8mb4")
    except ImportError:
        print("mysql-connector-python: the C extension is not available here")
        continue
    name = f"mysql-connector-python {mysql.connector.__version__} ({'pure' if pure else 'C'})"
    work(connection, name, mysql.connector.IntegrityError)
prepared = mysql.connector.connect(host="127.0.0.1", port=PORT, user="root", use_pure=True, charset="utf8mb4")
work(prepared, "mysql-connector-python, prepared statements", mysql.connector.IntegrityError, {"prepared": True})
