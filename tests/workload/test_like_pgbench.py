"""Our reading of the language beside pgbench's own program."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rehearse.model.target import Target
from rehearse.model.workload import ScriptSource
from rehearse.provision.binaries import embedded_installation
from rehearse.scenario.scripts import BUILT_IN
from rehearse.workload.evaluate import EvaluationError, Lots, Scope, compile_expression
from rehearse.workload.expression import parse_expression
from rehearse.workload.lots import DrawError
from rehearse.workload.script import parse_script

# on these both must agree; where they differ on purpose (logical operators on numbers) the manual rules
EXPRESSIONS = """
-7 / 2; -7 % 3; 7 % -3; 7.5 / 2; 7.0 % 2; 1.5 | 2; 1 << 70; 1 << -1; -1 >> 1; 1 << 63; 3.0 * 2; 1 = 1.0
-9223372036854775808; -9223372036854775808 % -1; 1 | 2 + 4 # 1 & 3; 2 - 3 - 4; -2 * -3; - -5; - 5 << 1; ~5 + 1
null and false; false and null; null or true; not null; null = 1; null is null; null + 1; abs(null); int(null)
1 is true; 1 isnull; not 1 isnull; 1 is not null is true; true is not false; not not true; 1 + 2 < 4 and true
case when 1 then 2 end; case when null then 2 else 3 end; case when 1 > 2 then 1 when 3 > 2 then 2 else 3 end
greatest(1, 2.5); greatest(3, null, 2); least(3); least(4, 2, 7); abs(-3.5); abs(-3); mod(7, -3); pi()
1.0 / 3; int(2.5); int(3.5); int(-2.5); double(5); sqrt(2); ln(10); exp(1); pow(2, 10); power(2, 3.5); .5
5.; 1e3; 1e20; hash(10, 5432); hash(-3, 5); hash(1.5, 2); hash_murmur2(10, 5432); hash_fnv1a(10, 5432)
hash_fnv1a(-1, 0); hash(10); hash_fnv1a(10); random(4, 4); random(3.5, 4.2); random_gaussian(2, 2, 3)
1 <> 2; 1 != 1; 2 >= 2
"""


def pgbench(target: Target, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = embedded_installation().bindir / "pgbench"
    address = ("-h", target.host, "-p", str(target.port), "-U", target.user, target.dbname)
    password = {} if target.password is None else {"PGPASSWORD": target.password.reveal()}
    return subprocess.run(
        [program, "-n", "-t", "1", *arguments, *address],
        capture_output=True,
        text=True,
        env=password,
        check=False,
        timeout=60,
    )


def as_debug_shows_it(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean {str(value).lower()}"
    return f"int {value}" if isinstance(value, int) else f"double {value:.15g}"


def test_expressions_have_the_same_values(database: Target, tmp_path: Path) -> None:
    expressions = [text.strip() for text in re.split(r"[;\n]", EXPRESSIONS) if text.strip()]
    path = tmp_path / "all.sql"
    path.write_text("".join(f"\\set x debug({text})\n" for text in expressions) + "select 1;\n")
    done = pgbench(database, "-f", str(path), "-D", "default_seed=99")
    theirs = re.findall(r"^debug\(script=0,command=\d+\): (.*)$", done.stderr, re.MULTILINE)
    scope = Scope({"default_seed": 99}, Lots(np.random.default_rng(1)))
    ours = [as_debug_shows_it(compile_expression(parse_expression(text))(scope)) for text in expressions]
    assert len(theirs) == len(expressions), done.stderr
    assert dict(zip(expressions, ours, strict=True)) == dict(zip(expressions, theirs, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775807 + 1",
        "-9223372036854775808 / -1",
        "1 / 0",
        "int(1e30)",
        "true + 1",
        "random(5, 1)",
    ],
)
def test_what_has_no_value_has_none_there_either(database: Target, tmp_path: Path, text: str) -> None:
    path = tmp_path / "one.sql"
    path.write_text(f"\\set x {text}\nselect 1;\n")
    assert pgbench(database, "-f", str(path)).returncode != 0
    with pytest.raises((EvaluationError, DrawError)):
        compile_expression(parse_expression(text))(Scope({}, Lots(np.random.default_rng(1))))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_scripts_are_pgbenchs(database: Target, name: str) -> None:
    shown = pgbench(database, f"--show-script={name}").stderr
    theirs = parse_script(ScriptSource(name, shown.partition("\n")[2]))
    assert parse_script(ScriptSource(name, BUILT_IN[name])).statements == tuple(
        statement.removesuffix(";") for statement in theirs.statements
    )
