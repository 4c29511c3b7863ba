"""Answers SQL over a CSV file with Python's own SQLite: query.py FILE QUERY prints the rows as JSON; the table is the file's stem."""

import csv
import json
import pathlib
import sqlite3
import sys


def number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def main():
    path, query = pathlib.Path(sys.argv[1]), sys.argv[2]
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    database = sqlite3.connect(":memory:")
    columns = ", ".join(f'"{name}"' for name in header)
    database.execute(f'CREATE TABLE "{path.stem}" ({columns})')
    marks = ", ".join("?" for _ in header)
    database.executemany(f'INSERT INTO "{path.stem}" VALUES ({marks})', [[number(cell) for cell in row] for row in rows])
    print(json.dumps(database.execute(query).fetchall()))


main()
