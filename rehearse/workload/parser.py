"""Takes scripts in pgbench's language apart: text in, frozen commands out.

SQL statements end with a semicolon, or with the backslash command that follows; `:name` outside of
quotes, comments and `::type` casts becomes a parameter, `$1` onwards, one for each time it stands there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rehearse.engines.postgres.command import Control, command_of, control_of, significant
from rehearse.engines.postgres.lexer import Lines, Token, TokenKind, UnterminatedError, token_at
from rehearse.errors import SqlFileError
from rehearse.model.workload import ScriptSource
from rehearse.workload.commands import (
    Capture,
    CaptureKind,
    Command,
    If,
    Pipeline,
    PipelineStep,
    Set,
    Sleep,
    Sql,
)
from rehearse.workload.expression import Const, Expression, ExpressionError, Var, parse_expression

_META = re.compile(r"\\([A-Za-z_]*)((?:\\\r?\n|[^\n])*)")
_CONTINUED = re.compile(r"\\\r?\n")
_NAME = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff]+\Z")
_VARIABLE = re.compile(r":[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*\Z")
_UNITS_NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_REFUSED = {
    "shell": "a workload may not start programs: take it out",
    "setshell": "a workload may not start programs: use \\set with random() or sample(table.column)",
    "setrandom": "write \\set NAME random(LOW, HIGH)",
}


def parse_commands(source: ScriptSource) -> tuple[Command, ...]:
    """The commands of a script. Raises SqlFileError, naming the line."""
    return _Parser(source).run()


@dataclass(slots=True)
class _Frame:
    """The branch of an \\if that is being read; the whole script is one without a condition."""

    line: int
    condition: Expression | None = None
    commands: list[Command] = field(default_factory=list)
    branches: list[tuple[Expression, tuple[Command, ...]]] = field(default_factory=list)
    in_else: bool = False


class _Parser:
    """One pass over one script."""

    def __init__(self, source: ScriptSource) -> None:
        self._file = source.file or source.name
        self._text = source.text.removeprefix("\ufeff")
        self._lines = Lines(self._text)
        self._position = 0
        self._frames = [_Frame(1)]
        self._statements = 0
        self._pipeline: int | None = None  # the line on which the open one began
        self._start_afresh()
        self._meta: dict[str, Callable[[int, str], None]] = {
            "set": self._set,
            "if": self._if,
            "elif": self._elif,
            "else": self._else,
            "endif": self._endif,
            "sleep": self._sleep,
            **{step.value: self._pipeline_step(step) for step in PipelineStep},
        }

    def run(self) -> tuple[Command, ...]:
        """All commands of the script."""
        while self._position < len(self._text):
            token = self._next()
            if token.is_symbol("\\"):
                self._backslash(token)
            elif token.is_symbol(";") and self._depth <= 0:
                self._finish()
            else:
                self._take(token)
        self._finish()
        if len(self._frames) > 1:
            raise self._error(self._frames[-1].line, "this \\if has no \\endif")
        if self._pipeline is not None:
            raise self._error(self._pipeline, "this pipeline is never ended", "add \\endpipeline")
        if not self._statements:
            raise self._error(1, "the script has no SQL statement")
        commands = tuple(self._frames[0].commands)
        self._check_transactions(commands)
        return commands

    def _start_afresh(self) -> None:
        self._tokens: list[Token] = []
        self._depth = 0
        self._compound = False

    def _next(self) -> Token:
        try:
            token = token_at(self._text, self._position)
        except UnterminatedError as error:
            line = self._lines.of(error.start)
            raise self._error(line, f"{error.what} is never closed") from None
        self._position = token.end
        return token

    def _take(self, token: Token) -> None:
        if self._tokens or token.kind.significant:
            self._tokens.append(token)
            self._depth += token.nesting

    def _finish(self, capture: Capture | None = None) -> None:
        """The statement read so far, if there is one."""
        while self._tokens and not self._tokens[-1].kind.significant:
            self._tokens.pop()
        if self._tokens:
            statement = self._statement(capture)
            self._frames[-1].commands.append(statement)
            self._statements += 1
        self._start_afresh()

    def _statement(self, capture: Capture | None) -> Sql:
        line = self._lines.of(self._tokens[0].start)
        parts, names = [""], []
        for token in self._tokens:
            if token.kind is TokenKind.VARIABLE and _VARIABLE.match(token.text):
                names.append(token.text[1:])
                parts.append("")
            else:
                parts[-1] += token.text
        if command_of(self._tokens) == "COPY" and {"STDIN", "STDOUT"} & {
            token.upper for token in significant(self._tokens)
        }:
            raise self._error(line, "COPY from or to the client is not supported", "use INSERT or SELECT")
        return Sql(
            index=self._statements,
            line=line,
            parts=tuple(parts),
            names=tuple(names),
            control=None if self._compound else control_of(self._tokens),
            capture=capture,
            compound=self._compound,
        )

    def _backslash(self, token: Token) -> None:
        if self._text[token.end : token.end + 1] == ";":
            self._position += 1
            self._compound = True
            self._take(Token(TokenKind.SYMBOL, ";", token.end))
            return
        match = _META.match(self._text, token.start)
        assert match is not None, "it starts with a backslash"
        self._position = match.end()
        line, name = self._lines.of(token.start), match.group(1)
        arguments = _CONTINUED.sub(" ", match.group(2)).strip()
        if name in {kind.value for kind in CaptureKind}:
            self._capture(line, CaptureKind(name), arguments)
            return
        self._finish()
        obey = self._meta.get(name)
        if obey is None:
            raise self._unknown(line, name)
        obey(line, arguments)

    def _unknown(self, line: int, name: str) -> SqlFileError:
        if name in _REFUSED:
            return self._error(line, f"\\{name} is not supported", _REFUSED[name])
        near = difflib.get_close_matches(name, [*self._meta, "gset", "aset"], n=1)
        return self._error(line, f"\\{name} is unknown", f"did you mean \\{near[0]}?" if near else "")

    def _capture(self, line: int, kind: CaptureKind, prefix: str) -> None:
        if self._pipeline is not None:
            raise self._error(line, f"\\{kind.value} is not allowed in a pipeline")
        if prefix and not _NAME.match(prefix):
            raise self._error(line, f"\\{kind.value} takes one prefix for variables, not {prefix!r}")
        capture = Capture(kind, prefix)
        if significant(self._tokens):
            self._finish(capture)
            return
        commands = self._frames[-1].commands
        last = commands[-1] if commands else None
        if not isinstance(last, Sql) or last.capture is not None:
            raise self._error(line, f"\\{kind.value} must follow an SQL statement")
        commands[-1] = replace(last, capture=capture)

    def _set(self, line: int, arguments: str) -> None:
        name, *rest = arguments.split(None, 1) or [""]
        text = rest[0] if rest else ""
        if not _NAME.match(name):
            raise self._error(line, f"\\set takes a variable's name and an expression, not {arguments!r}")
        self._frames[-1].commands.append(Set(line, name, self._expression(line, f"\\set {name}", text)))

    def _sleep(self, line: int, arguments: str) -> None:
        match = re.fullmatch(r"(:\w+|[0-9]+)\s*(us|ms|s|)", arguments)
        if match is None:
            raise self._error(line, f"\\sleep takes a number or :variable and us, ms or s, not {arguments!r}")
        amount, unit = match.groups()
        value = Var(amount[1:]) if amount.startswith(":") else Const(int(amount))
        self._frames[-1].commands.append(Sleep(line, value, _UNITS_NS[unit or "s"]))

    def _if(self, line: int, arguments: str) -> None:
        self._frames.append(_Frame(line, self._expression(line, "\\if", arguments)))

    def _elif(self, line: int, arguments: str) -> None:
        frame = self._branch(line, "elif")
        frame.condition = self._expression(line, "\\elif", arguments)

    def _else(self, line: int, arguments: str) -> None:
        self._refuse_arguments(line, "else", arguments)
        self._branch(line, "else").in_else = True

    def _branch(self, line: int, name: str) -> _Frame:
        """Ends the branch before an \\elif or \\else."""
        frame = self._frames[-1]
        if len(self._frames) == 1:
            raise self._error(line, f"\\{name} has no \\if before it")
        if frame.in_else or frame.condition is None:
            raise self._error(line, f"\\{name} stands after \\else")
        frame.branches.append((frame.condition, tuple(frame.commands)))
        frame.commands = []
        return frame

    def _endif(self, line: int, arguments: str) -> None:
        self._refuse_arguments(line, "endif", arguments)
        if len(self._frames) == 1:
            raise self._error(line, "\\endif has no \\if before it")
        frame = self._frames.pop()
        otherwise = tuple(frame.commands) if frame.in_else else ()
        if not frame.in_else and frame.condition is not None:
            frame.branches.append((frame.condition, tuple(frame.commands)))
        self._frames[-1].commands.append(If(frame.line, tuple(frame.branches), otherwise))

    def _pipeline_step(self, step: PipelineStep) -> Callable[[int, str], None]:
        def obey(line: int, arguments: str) -> None:
            self._refuse_arguments(line, step.value, arguments)
            is_open = self._pipeline is not None
            if step is PipelineStep.START and is_open:
                raise self._error(line, "a pipeline is already open")
            if step is not PipelineStep.START and not is_open:
                raise self._error(line, f"\\{step.value} stands outside of a pipeline")
            if step is not PipelineStep.SYNC:
                self._pipeline = line if step is PipelineStep.START else None
            self._frames[-1].commands.append(Pipeline(line, step))

        return obey

    def _expression(self, line: int, where: str, text: str) -> Expression:
        if not text.strip():
            raise self._error(line, f"{where} needs an expression")
        try:
            return parse_expression(text)
        except ExpressionError as error:
            raise self._error(line, f"{where}: {error}") from None

    def _refuse_arguments(self, line: int, name: str, arguments: str) -> None:
        if arguments:
            raise self._error(line, f"\\{name} takes no arguments")

    def _check_transactions(self, commands: tuple[Command, ...]) -> None:
        """A transaction that stays open would swallow those after it. Where conditions or compound
        statements decide, only the run can tell.
        """
        begun: int | None = None
        for command in commands:
            if isinstance(command, If) or (isinstance(command, Sql) and command.compound):
                return
            if not isinstance(command, Sql):
                continue
            if command.control is Control.BEGIN:
                begun = command.line
            elif command.control in {Control.COMMIT, Control.ROLLBACK}:
                begun = None
        if begun is not None:
            raise self._error(begun, "the transaction that begins here is never ended", "end it with COMMIT")

    def _error(self, line: int, what: str, mend: str = "") -> SqlFileError:
        return SqlFileError(self._file, line, what, mend)
