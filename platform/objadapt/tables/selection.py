"""Which tables and rows are made of a data set, and what is wrong with the names that were given."""

from ..declared import CONFIGS, names
from ..errors import InputError, did_you_mean
from .table import Table, load_table, table_names


def tables_of(dataset: str) -> list[Table]:
    """The declared tables that are not of other data sets alone."""
    tables = [load_table(name) for name in table_names()]
    return [table for table in tables if dataset in (table.datasets or [dataset])]


def check_dataset(table: Table, dataset: str) -> None:
    """InputError where a table is of other data sets alone."""
    if table.datasets and dataset not in table.datasets:
        mine = " or ".join(f"--dataset {name}" for name in table.datasets)
        raise InputError(f"--table: {table.name} is not of {dataset}; use {mine}, or --table methods for your own data")


def unknown_datasets(tables: list[Table], dataset: str) -> list[str]:
    """A line for each data set that a table names, that looks like another one that is there: its entry is not used."""
    there, said = {dataset, *names(CONFIGS)}, []
    for table in tables:
        named = {name: "settings" for name in table.settings} | dict.fromkeys(table.datasets, "datasets")
        named |= {name: f"rows: {row.name}: missing" for row in table.rows for name in row.missing}
        for name in named.keys() - there:
            if guess := did_you_mean(name, sorted(there)).strip():
                said.append(f"{table.file}: {named[name]}: {name} is neither --dataset nor declared; {guess}")
    return sorted(said)


def check_rows(tables: list[Table], selected: list[str] | None) -> None:
    """InputError where a selected row exists in no table."""
    there = {row.name for table in tables for row in table.rows}
    if unknown := [name for name in selected or [] if name not in there]:
        where = ", ".join(table.name for table in tables)
        raise InputError(f"--rows: no row {', '.join(unknown)} in {where}; there are {', '.join(sorted(there))}")
