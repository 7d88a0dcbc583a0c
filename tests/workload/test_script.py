from __future__ import annotations

import numpy as np
import pytest

from rehearse.engines.postgres.command import Control
from rehearse.errors import SqlFileError
from rehearse.model.workload import Pool, PoolKey, Protocol, ScriptSource
from rehearse.workload.check import check_pools, check_script, check_values, is_straight
from rehearse.workload.commands import Capture, CaptureKind, If, Pipeline, PipelineStep, Set, Sleep, Sql
from rehearse.workload.evaluate import Lots
from rehearse.workload.expression import Const, Var, parse_expression
from rehearse.workload.script import Script, parse_script
from rehearse.workload.variables import default_variables


def script(text: str) -> Script:
    return parse_script(ScriptSource("app", text, file="app.sql"))


def test_variables_become_parameters_only_where_they_are_variables() -> None:
    statement = script(
        """select ':a', "x:b", :c::text, $$ :d $$, :c /* :e */, x[1:2], '12:34'::time, now() -- :f
        from t where a = :_G9;"""
    ).statements[0]
    assert statement.startswith(
        """select ':a', "x:b", $1::text, $$ :d $$, $2 /* :e */, x[1:2], '12:34'::time"""
    )
    assert statement.endswith("where a = $3")


def test_statements_end_with_a_semicolon_outside_of_everything() -> None:
    found = script("-- first; of all\nselect ';', (select 1;2);\n;;\n  select $x$;$x$ -- end;\n")
    assert found.statements == ("select ';', (select 1;2)", "select $x$;$x$")
    assert [sql.line for sql in found.sql] == [2, 4]


def test_a_backslash_command_ends_the_statement_before_it() -> None:
    found = script("select 1\n\\set a 2\nselect :a")
    assert [type(command) for command in found.commands] == [Sql, Set, Sql]


def test_lines_are_continued_with_a_backslash() -> None:
    found = script("\\set a 1 + \\\n  2 \\\r\n + 3\nselect :a;")
    assert found.commands[0] == Set(1, "a", parse_expression("1 + 2 + 3"))
    assert found.sql[0].line == 4


def test_captures() -> None:
    found = script("select 1 as one \\gset\nselect 2 as two; \\gset p_\nselect 3 \\; select 4 as four \\aset")
    assert [sql.capture for sql in found.sql] == [
        Capture(CaptureKind.GSET, ""),
        Capture(CaptureKind.GSET, "p_"),
        Capture(CaptureKind.ASET, ""),
    ]
    assert found.sql[2].text == "select 3 ; select 4 as four"
    assert found.sql[2].compound


def test_conditions_nest() -> None:
    found = script(
        "\\if :scale > 1\nselect 1;\n\\if true\nselect 2;\n\\endif\n"
        "\\elif :scale = 1\nselect 3;\n\\else\nselect 4;\n\\endif"
    )
    (outer,) = found.commands
    assert isinstance(outer, If)
    assert len(outer.branches) == 2
    inner = outer.branches[0][1][1]
    assert isinstance(inner, If)
    assert inner.otherwise == ()
    assert found.statements == ("select 1", "select 2", "select 3", "select 4")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 ms", Sleep(1, Const(10), 1_000_000)),
        ("10ms", Sleep(1, Const(10), 1_000_000)),
        ("2", Sleep(1, Const(2), 1_000_000_000)),
        (":scale us", Sleep(1, Var("scale"), 1_000)),
    ],
)
def test_sleep(text: str, expected: Sleep) -> None:
    assert script(f"\\sleep {text}\nselect 1;").commands[0] == expected


def test_pipelines() -> None:
    found = script("\\startpipeline\nselect 1;\n\\syncpipeline\n\\endpipeline")
    steps = [command.step for command in found.commands if isinstance(command, Pipeline)]
    assert steps == [PipelineStep.START, PipelineStep.SYNC, PipelineStep.END]


def test_pool_keys_fold_what_is_not_quoted() -> None:
    found = script('\\set a sample(Orders.ID)\n\\set b 1 + fresh("Big"."T"."C")\nselect :a, :b;')
    assert found.pool_keys == {PoolKey("sample", "orders", "id"), PoolKey("fresh", "Big.T", "C")}


def test_transaction_control_is_told() -> None:
    found = script("begin;\nselect 1;\nsavepoint a;\nrollback to a;\nend;")
    assert [sql.control for sql in found.sql] == [
        Control.BEGIN,
        None,
        Control.SAVEPOINT,
        Control.ROLLBACK_TO,
        Control.COMMIT,
    ]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("select 1;\n\\shell ls", 2, "may not start programs"),
        ("select 1;\n\\setshell x ls", 2, "use .set with random"),
        ("\\setrandom x 1 2\nselect 1;", 1, "write .set NAME random"),
        ("\\sett x 1\nselect 1;", 1, "did you mean .set"),
        ("select 1;\n\n\\set x", 3, "needs an expression"),
        ("select 1;\n\\set x 1 +", 2, "the end is not expected"),
        ("\\set x-y 1\nselect 1;", 1, "takes a variable's name"),
        ("\\gset", 1, "must follow an SQL statement"),
        ("select 1;\n\\gset\n\\gset", 3, "must follow an SQL statement"),
        ("select 1 \\gset a b", 1, "one prefix"),
        ("\\startpipeline\nselect 1 \\gset\n\\endpipeline", 2, "not allowed in a pipeline"),
        ("\\startpipeline\nselect 1;", 1, "never ended"),
        ("select 1;\n\\endpipeline", 2, "outside of a pipeline"),
        ("select 1;\n\\if 1\nselect 2;", 2, "has no .endif"),
        ("select 1;\n\\endif", 2, "no .if before"),
        ("\\if 1\n\\else\n\\elif 1\n\\endif\nselect 1;", 3, "after .else"),
        ("select 1;\n\\else x", 2, "takes no arguments"),
        ("select 1;\n\\sleep 5 h", 2, "us, ms or s"),
        ("select 1;\nselect 'a", 2, "never closed"),
        ("select 1;\n/* a", 2, "never closed"),
        ("select 1;\nbegin;\nselect 2;", 2, "never ended"),
        ("copy t (a) from stdin;", 1, "COPY from or to the client"),
        ("-- nothing\n", 1, "no SQL statement"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(SqlFileError, match=why) as caught:
        script(text)
    assert (caught.value.file, caught.value.line) == ("app.sql", line)


class TestChecks:
    variables = default_variables(42, [("rows", 10)])

    def check(self, text: str, protocol: Protocol = Protocol.PREPARED) -> None:
        check_script(script(text), self.variables, protocol)

    def test_what_is_given_or_set_before_is_known(self) -> None:
        self.check("\\set a :rows * :scale\nselect :a, :client_id, :random_seed, :default_seed;")
        self.check("select 1 as one \\gset p_\nselect :p_one;")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("select 1,\n :a;", 2),
            ("select :a;\n\\set a 1\nselect :a;", 1),
            ("\\set b :c + 1\nselect :b;", 1),
            ("select 1;\n\\if :x\n\\endif", 2),
            ("select 1 as one \\gset p_\nselect :one;", 2),
        ],
    )
    def test_a_variable_that_nothing_sets_is_named_with_its_line(self, text: str, line: int) -> None:
        with pytest.raises(SqlFileError, match="nothing sets the variable") as caught:
            self.check(text)
        assert caught.value.line == line

    def test_what_the_protocol_cannot_do(self) -> None:
        with pytest.raises(SqlFileError, match="not simple"):
            self.check("\\startpipeline\nselect 1;\n\\endpipeline", Protocol.SIMPLE)
        with pytest.raises(SqlFileError, match="write two statements"):
            self.check("select 1 \\; select 2;")
        self.check("select 1 \\; select 2;", Protocol.SIMPLE)

    def test_an_expression_without_a_value_is_found_before_the_run(self) -> None:
        with pytest.raises(SqlFileError, match="division by zero") as caught:
            check_values(script("select 1;\n\\set a 1 / 0\nselect :a;"), {}, Lots(np.random.default_rng(1)))
        assert caught.value.line == 2

    def test_a_draw_needs_its_pool(self) -> None:
        found = script("\\set a sample(t.a)\nselect :a;")
        check_pools([found], [Pool("sample", "t", {"a": [b"1"]})])
        with pytest.raises(ValueError, match=r"no rows for sample\(t\.a\)"):
            check_pools([found], [Pool("fresh", "t", {"a": [b"1"]})])

    @pytest.mark.parametrize(
        ("text", "straight"),
        [
            ("\\set a random(1, 9)\nbegin;\nselect :a;\nend;", True),
            ("\\set a 1\n\\set a :a + 1\nselect :a;", True),
            ("\\set a 1\n\\if :a\nselect :a;\n\\endif", False),
            ("select 1 \\gset", False),
            ("select :client_id;", False),
            ("\\set rows :rows + 1\nselect :rows;", False),  # goes on counting from one to the next
            ("\\sleep 1 ms\nselect 1;", False),
        ],
    )
    def test_what_can_be_drawn_ahead(self, text: str, straight: bool) -> None:
        assert is_straight(script(text)) is straight
