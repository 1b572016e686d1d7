"""The tools of front-desk.toml: a book of tables, kept in memory for as long as the program runs.

Each function is a tool: its name, its parameters with their types, and its docstring are what the model is told.
"""

from __future__ import annotations

TABLES = {"window": 2, "corner": 4, "terrace": 6}
"""Each table and how many people it seats."""

_book: dict[tuple[str, str], tuple[str, int]] = {}
"""(time, table) to (name, guests)."""


def free_tables(time: str) -> str:
    """Say which tables are free at a time of day, such as 20:00."""
    free = [f"the {table} table for {seats}" for table, seats in TABLES.items() if (time, table) not in _book]
    return f"Free at {time}: {', '.join(free)}." if free else f"No table is free at {time}."


def book_table(name: str, guests: int, time: str) -> str:
    """Book a table under a name, for a number of guests, at a time of day such as 20:00."""
    for (at, table), booking in _book.items():
        if at == time and booking == (name, guests):
            return f"The {table} table is booked for {name}, {guests} guests at {time}."
    for table, seats in TABLES.items():
        if seats >= guests and (time, table) not in _book:
            _book[time, table] = (name, guests)
            return f"The {table} table is booked for {name}, {guests} guests at {time}."
    return f"There is no table left for {guests} at {time}."
