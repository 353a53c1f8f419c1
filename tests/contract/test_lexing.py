"""What of a statement is code, as each database has it: nothing of it is taken for a text."""

import pytest

from mltraq_prefect.storage.sql.dialects.lexing import MARIADB, POSTGRESQL, SQLITE, code


@pytest.mark.parametrize(
    ("apart", "sql", "left"),
    [
        (SQLITE, r"a = 'x\' AND b = 'y'", "a =   AND b =  "),
        (SQLITE, "'it''s' \"n\"\"m\" `a``b` -- c\n/* d\n */ e", "       \n  e"),
        (SQLITE, "[it's :b] = /* /* */ 1", "  =   1"),
        (POSTGRESQL, r"E'x\' b' c 'd\' e", "  c   e"),
        (POSTGRESQL, "$$ a' $$ b $t$ $$ $t$ c $1", "  b   c $1"),
        (POSTGRESQL, "like'a' e", "like  e"),
        (POSTGRESQL, "/* a /* b /* */ ' */ c */ d /* e */ f[1:2]", "  d   f[1:2]"),
        (POSTGRESQL, "a$b$c, d$b$e", "a$b$c, d$b$e"),
        (MARIADB, r"""'x\' a' b "c\" d" e""", "  b   e"),
        (MARIADB, "5--(SELECT 1) # b\n-- c\nd", "5--(SELECT 1)  \n \nd"),
        (MARIADB, "/* a */ /*! b */ /*M!100 c */", "  /*! b */ /*M!100 c */"),
    ],
)
def test_code(apart, sql, left):
    assert code(sql, apart) == left
