"""Our reading of the language beside pgbench's own program."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rehearse.model.target import Target
from rehearse.model.workload import ScriptSource
from rehearse.provision import Server
from rehearse.provision.binaries import embedded_installation
from rehearse.scenario.scripts import BUILT_IN
from rehearse.workload.evaluate import Lots, Scope, compile_expression
from rehearse.workload.expression import parse_expression
from rehearse.workload.lots import DrawError
from rehearse.workload.operations import EvaluationError
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
1 <> 2; 1 != 1; 2 >= 2; hash(9223372036854775807, -1); hash_fnv1a(-9223372036854775808, 7); hash(3.5, 3)
permute(0, 1); permute(0, 2); permute(1, 2); permute(2, 3, 4); permute(7, 10, 5432); permute(-3, 10, 5432)
permute(0, 8); permute(1.5, 9, 2); permute(5, 1000000, -7); permute(999999, 1000000, 42)
permute(4294967296, 4294967297, 3); permute(123456789, 4611686018427387904, 1); permute(null, 3)
permute(-9223372036854775808, 9223372036854775807, 9223372036854775807); permute(12, 5) + permute(13, 5)
7 & 3 = 3 or false; 1 + 2 * 3 % 2 << 1; 6 - 4 / 3 * 2; not 1 = 2; - 2 + 3; ~ 3 & 6; 5 % 3 - 1; 2 * 3 # 1
1 << 2 << 3; 256 >> 2 >> 1; 1 | 6 & 3; 9223372036854775807 - 1 + 1; -9223372036854775807 - 1
4611686018427387904 * -2; 9223372036854775807 / -1; -9223372036854775808 % -1; 7 / -2; -7 / -2; 5 / 2 * 2.0
9223372036854775807 * 1.0; random_zipfian(3, 3, 1.001); random_zipfian(-5, -5, 1000); random(-7, -7)
random_exponential(9, 9, 0.001); random_zipfian(-9223372036854775808, -9223372036854775808, 2.5)
random_gaussian(9223372036854775807, 9223372036854775807, 2)
"""

SCOPE = Scope({"default_seed": 99}, Lots(np.random.default_rng(1)))


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


def test_expressions_have_the_same_values(server: Server, tmp_path: Path) -> None:
    expressions = [text.strip() for text in re.split(r"[;\n]", EXPRESSIONS) if text.strip()]
    path = tmp_path / "all.sql"
    path.write_text("".join(f"\\set x debug({text})\n" for text in expressions) + "select 1;\n")
    done = pgbench(server.target, "-f", str(path), "-D", "default_seed=99")
    theirs = re.findall(r"^debug\(script=0,command=\d+\): (.*)$", done.stderr, re.MULTILINE)
    ours = [as_debug_shows_it(compile_expression(parse_expression(text))(SCOPE)) for text in expressions]
    assert len(theirs) == len(expressions), done.stderr
    assert dict(zip(expressions, ours, strict=True)) == dict(zip(expressions, theirs, strict=True))


TEXTS = """
t,Y,ye,tr,tr ue,on,of,no,F,null,+5,-07,1e3, 12,1_0,abc,,9223372036854775807,9223372036854775808
"""


def test_texts_mean_the_same(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "texts.sql"
    path.write_text("\\set x debug(:v is true)\n\\set x debug(:v is null)\n\\set x debug(:v + 1)\n")
    for text in TEXTS.strip("\n").split(","):
        shown = pgbench(server.target, "-f", str(path), "-D", f"v={text}").stderr
        theirs = re.findall(r"^debug\(script=0,command=\d+\): (.*)$", shown, re.MULTILINE)
        assert _ours(text) == theirs, text


def _ours(text: str) -> list[str]:
    scope = Scope({"v": text.encode()}, Lots(np.random.default_rng(1)))
    shown = []
    for expression in (":v is true", ":v is null", ":v + 1"):
        try:
            shown.append(as_debug_shows_it(compile_expression(parse_expression(expression))(scope)))
        except EvaluationError:
            break
    return shown


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775807 + 1",
        "-9223372036854775808 / -1",
        "1 / 0",
        "int(1e30)",
        "true + 1",
        "-9223372036854775808 - 1",
        "4611686018427387904 * 2",
        "- (-9223372036854775807 - 1)",
        "7 % 0",
        "mod(7, 0)",
        "int(9223372036854775807.0)",
        "random(5, 1)",
        "random(-9223372036854775808, 9223372036854775807)",
        "random(0, 9223372036854775807)",
        "random_zipfian(1, 10, 1)",
        "random_zipfian(1, 10, 1000.5)",
        "random_zipfian(5, 1, 2)",
        "random_gaussian(1, 10, 1.9)",
        "random_exponential(1, 10, 0)",
        "permute(1, 0)",
        "permute(1, -5)",
        "hash(true)",
    ],
)
def test_what_has_no_value_has_none_there_either(server: Server, tmp_path: Path, text: str) -> None:
    path = tmp_path / "one.sql"
    path.write_text(f"\\set x {text}\nselect 1;\n")
    assert pgbench(server.target, "-f", str(path)).returncode != 0
    with pytest.raises((EvaluationError, DrawError)):
        compile_expression(parse_expression(text))(SCOPE)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_scripts_are_pgbenchs(server: Server, name: str) -> None:
    shown = pgbench(server.target, f"--show-script={name}").stderr
    theirs = parse_script(ScriptSource(name, shown.partition("\n")[2]))
    assert parse_script(ScriptSource(name, BUILT_IN[name])).statements == tuple(
        statement.removesuffix(";") for statement in theirs.statements
    )
