"""What a script needs of its surroundings, settled before the first transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rehearse.engines.postgres.wire import Value
from rehearse.errors import InputError, SqlFileError
from rehearse.model.workload import Pool, Protocol
from rehearse.workload.commands import Command, If, Pipeline, Set, Sql, flatten, variables_of
from rehearse.workload.evaluate import Lots, Scope
from rehearse.workload.interpret import Interpreter, UnsendableError
from rehearse.workload.script import Script
from rehearse.workload.variables import CLIENT_ID

_IMPLICIT = frozenset({"client_id", "random_seed", "default_seed", "scale"})


def check_pools(scripts: Sequence[Script], pools: Sequence[Pool]) -> None:
    """InputError where a script draws from a column that no pool has."""
    known = {(pool.kind, pool.table, column) for pool in pools for column in pool.columns}
    for script in scripts:
        for key in sorted(script.pool_keys, key=lambda key: (key.kind, key.table, key.column)):
            if (key.kind, key.table, key.column) not in known:
                raise InputError(f"{script.file}: there are no rows for {key.kind}({key.table}.{key.column})")


def check_values(script: Script, variables: dict[str, Value], lots: Lots) -> None:
    """SqlFileError where an expression of a script without conditions has no value, once tried."""
    interpreter = Interpreter(script.commands, lots)
    scope = Scope(dict(variables), lots, lambda _key: None)
    for command in script.commands:
        if isinstance(command, Sql) and command.capture:
            return  # from here on, values come from the server
        if not isinstance(command, Set):
            continue
        try:
            scope.variables[command.name] = interpreter.evaluate(command, command.expression, scope)
        except UnsendableError as error:
            raise SqlFileError(script.file, error.line, f"\\set {command.name}: {error.reason}") from None


def check_script(script: Script, variables: Mapping[str, int], protocol: Protocol) -> None:
    """SqlFileError where `script` uses a variable that nothing sets, or what `protocol` cannot do."""
    known = {CLIENT_ID, *variables}
    prefixes: list[str] = []
    for command in flatten(script.commands):
        for name in variables_of(command):
            if name not in known and not any(name.startswith(prefix) for prefix in prefixes):
                raise _undefined(script, command, name)
        if isinstance(command, Set):
            known.add(command.name)
        elif isinstance(command, Sql) and command.capture:
            prefixes.append(command.capture.prefix)
        _check_protocol(script, command, protocol)


def is_straight(script: Script) -> bool:
    """Whether every transaction of `script` sends the same statements, with values that depend neither
    on what the server answers nor on the client's earlier transactions, so that they can be drawn ahead.
    """
    assigned: set[str] = set()
    read_first: set[str] = set()
    for command in script.commands:
        if isinstance(command, (If, Pipeline)) or not isinstance(command, (Set, Sql)):
            return False
        if isinstance(command, Sql) and command.capture:
            return False
        read_first |= set(variables_of(command)) - assigned
        if isinstance(command, Set):
            assigned.add(command.name)
    return CLIENT_ID not in read_first and not read_first & assigned


def _check_protocol(script: Script, command: Command, protocol: Protocol) -> None:
    simple = protocol is Protocol.SIMPLE
    if isinstance(command, Pipeline) and simple:
        raise SqlFileError(
            script.file, command.line, "a pipeline needs protocol extended or prepared, not simple"
        )
    if isinstance(command, Sql) and command.compound and not simple:
        raise SqlFileError(
            script.file,
            command.line,
            f"\\; needs protocol simple, not {protocol.value}",
            "write two statements",
        )


def _undefined(script: Script, command: Command, name: str) -> SqlFileError:
    line = command.line
    if isinstance(command, Sql):
        place = command.names.index(name)
        line += sum(part.count("\n") for part in command.parts[: place + 1])
        if command.parts[place].rstrip()[-1:].isalnum() and "[" in command.parts[place]:
            return SqlFileError(
                script.file,
                line,
                f"nothing sets the variable :{name}",
                "in an array slice, write a blank after the colon",
            )
    mend = "" if name in _IMPLICIT else f"add \\set {name} before it, or give it a value as a variable"
    return SqlFileError(script.file, line, f"nothing sets the variable :{name}", mend)
