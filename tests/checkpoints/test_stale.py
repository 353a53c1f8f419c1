"""A stored result is never given for another computation, and an unchanged program is resumed.

Each case is a project on disk that is executed by one process, edited, and executed by another.
"""

import pytest

from tests.execution.projects import Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


STEP = "def step(run):\n    run.fields.x = run.params.N * "

TIMES = """
def one(n):
    return n

def times(rate):
    @functools.wraps(one)
    def inner(n):
        return one(n) * rate
    return inner

"""

STALE = {
    "constant": (
        {"code": f"LR = 1\n{STEP}LR"},
        {"code": f"LR = 2\n{STEP}LR"},
        r"step 'step': other value of LR in module script (1 -> 2)",
    ),
    "dict": (
        {"code": f"OPTIONS = {{'lr': 1}}\n{STEP}OPTIONS['lr']"},
        {"code": f"OPTIONS = {{'lr': 2}}\n{STEP}OPTIONS['lr']"},
        "other value of OPTIONS in module script",
    ),
    "order of a dict": (
        {"code": f"LAYERS = {{'scale': 1, 'rotate': 2}}\n{STEP}[*LAYERS]"},
        {"code": f"LAYERS = {{'rotate': 2, 'scale': 1}}\n{STEP}[*LAYERS]"},
        "other value of LAYERS in module script",
    ),
    "nested item of a list": (
        {"code": f"LAYERS = [[1], [2, {{'n': 3}}]]\n{STEP}LAYERS[1][1]['n']"},
        {"code": f"LAYERS = [[1], [2, {{'n': 4}}]]\n{STEP}LAYERS[1][1]['n']"},
        "other value of LAYERS in module script",
    ),
    "array": (
        {"imports": "import numpy as np", "code": f"W = np.ones(2)\n{STEP}W.sum()"},
        {"imports": "import numpy as np", "code": f"W = np.zeros(2)\n{STEP}W.sum()"},
        "other value of W in module script",
    ),
    "frame": (
        {"imports": "import pandas as pd", "code": f"F = pd.DataFrame({{'a': [1]}})\n{STEP}len(F)"},
        {"imports": "import pandas as pd", "code": f"F = pd.DataFrame({{'a': [2]}})\n{STEP}len(F)"},
        "other value of F in module script",
    ),
    "method": (
        {"code": f"class Model:\n    def fit(self):\n        return 1\n{STEP}Model().fit()"},
        {"code": f"class Model:\n    def fit(self):\n        return 2\n{STEP}Model().fit()"},
        "other code in script.Model.fit",
    ),
    "inherited method": (
        {
            "imports": "from models import Base",
            "code": f"class Model(Base):\n    pass\n{STEP}Model().fit()",
            "models": "class Base:\n    def fit(self):\n        return 1\n",
        },
        {"models": "class Base:\n    def fit(self):\n        return 2\n"},
        "other code in models.Base.fit",
    ),
    "property": (
        {"code": f"class M:\n    @property\n    def n(self):\n        return 1\n{STEP}M().n"},
        {"code": f"class M:\n    @property\n    def n(self):\n        return 2\n{STEP}M().n"},
        "other code in script.M.n",
    ),
    "class attribute": (
        {"code": f"class Config:\n    rate = 1\n{STEP}Config.rate"},
        {"code": f"class Config:\n    rate = 2\n{STEP}Config.rate"},
        "other value of rate in class script.Config (1 -> 2)",
    ),
    "default of a dataclass": (
        {
            "imports": "from dataclasses import dataclass",
            "code": f"@dataclass\nclass Config:\n    rate: int = 1\n{STEP}Config().rate",
        },
        {
            "imports": "from dataclasses import dataclass",
            "code": f"@dataclass\nclass Config:\n    rate: int = 2\n{STEP}Config().rate",
        },
        "other default of rate in script.Config.__init__ (1 -> 2)",
    ),
    "default of a model": (
        {
            "imports": "from pydantic import BaseModel",
            "code": f"class Config(BaseModel):\n    rate: int = 1\n{STEP}Config().rate",
        },
        {
            "imports": "from pydantic import BaseModel",
            "code": f"class Config(BaseModel):\n    rate: int = 2\n{STEP}Config().rate",
        },
        "other value of rate in class script.Config",
    ),
    "member of an enum": (
        {"imports": "import enum", "code": f"class E(enum.Enum):\n    A = 1\n{STEP}E.A.value"},
        {"imports": "import enum", "code": f"class E(enum.Enum):\n    A = 2\n{STEP}E.A.value"},
        "other value of A in class script.E (1 -> 2)",
    ),
    "helper of a sibling module": (
        {
            "imports": "import helper",
            "code": f"{STEP}helper.prepare(1)",
            "helper": "def prepare(x):\n    return x\n",
        },
        {"helper": "def prepare(x):\n    return x + 1\n"},
        "other code in helper.prepare",
    ),
    "helper of a helper in a package": (
        {
            "imports": "from lib.outer import outer",
            "code": f"{STEP}outer()",
            "lib/__init__": "",
            "lib/outer": "from lib import inner\ndef outer():\n    return inner.inner()\n",
            "lib/inner": "def inner():\n    return 1\n",
        },
        {"lib/inner": "def inner():\n    return 2\n"},
        "other code in inner.inner",
    ),
    "constant of a sibling module": (
        {"imports": "import config", "code": f"{STEP}config.LR", "config": "LR = 1\n"},
        {"config": "LR = 2\n"},
        "other value of LR in module config (1 -> 2)",
    ),
    "module that is passed on": (
        {
            "imports": "import config",
            "code": f"def rate(c):\n    return c.LR\n{STEP}rate(config)",
            "config": "LR = 1\n",
        },
        {"config": "LR = 2\n"},
        "other value of LR in module config (1 -> 2)",
    ),
    "import in a function": (
        {
            "code": "def step(run):\n    import helper as h\n    run.fields.x = h.prepare()",
            "helper": "def prepare():\n    return 1\n",
        },
        {"helper": "def prepare():\n    return 2\n"},
        "other code in helper.prepare",
    ),
    "import of a name in a function": (
        {
            "code": "def step(run):\n    from lib.a import f\n    run.fields.x = f()",
            "lib/__init__": "",
            "lib/a": "def f():\n    return 1\n",
        },
        {"lib/a": "def f():\n    return 2\n"},
        "other code in a.f",
    ),
    "lambda in a dict": (
        {"code": f"LOSS = {{'l1': lambda x: x}}\n{STEP}LOSS['l1'](1)"},
        {"code": f"LOSS = {{'l1': lambda x: 2 * x}}\n{STEP}LOSS['l1'](1)"},
        "other value of LOSS in module script, other code in script.<lambda>",
    ),
    "lambdas in a dict, exchanged": (
        {"code": f"LOSS = {{'a': lambda: 1, 'b': lambda: 2}}\n{STEP}LOSS['a']()"},
        {"code": f"LOSS = {{'b': lambda: 1, 'a': lambda: 2}}\n{STEP}LOSS['a']()"},
        "other value of LOSS in module script",
    ),
    "helper in a comprehension": (
        {"code": f"def h(n):\n    return n\n{STEP}sum([h(n) for n in range(3)])"},
        {"code": f"def h(n):\n    return n + 1\n{STEP}sum([h(n) for n in range(3)])"},
        "other code in script.h",
    ),
    "decorated helper": (
        {
            "imports": "import functools",
            "code": f"@functools.lru_cache\ndef h():\n    return 1\n{STEP}h()",
        },
        {
            "imports": "import functools",
            "code": f"@functools.lru_cache\ndef h():\n    return 2\n{STEP}h()",
        },
        "other code in script.h",
    ),
    "callable object": (
        {
            "code": "class S:\n    def __call__(self, run):\n        self.go(run)\n"
            "    def go(self, run):\n        run.fields.x = 1\nstep = S()"
        },
        {
            "code": "class S:\n    def __call__(self, run):\n        self.go(run)\n"
            "    def go(self, run):\n        run.fields.x = 2\nstep = S()"
        },
        "step 'S': other code in script.S.go",
    ),
    "state of a bound method": (
        {
            "code": "class S:\n    def __init__(self, n):\n        self.n = n\n"
            "    def step(self, run):\n        run.fields.x = self.n\nstep = S(1).step"
        },
        {
            "code": "class S:\n    def __init__(self, n):\n        self.n = n\n"
            "    def step(self, run):\n        run.fields.x = self.n\nstep = S(2).step"
        },
        "other object that step is a method of",
    ),
    "argument of a partial": (
        {
            "imports": "from functools import partial",
            "code": "def work(run, n):\n    run.fields.x = n\nstep = partial(work, n=1)",
        },
        {
            "imports": "from functools import partial",
            "code": "def work(run, n):\n    run.fields.x = n\nstep = partial(work, n=2)",
        },
        "step 'work': other value of n given to work (1 -> 2)",
    ),
    "keyword": (
        {"code": f"{STEP}run.kwargs.k", "kwargs": "{'k': 1}"},
        {"code": f"{STEP}run.kwargs.k", "kwargs": "{'k': 2}"},
        "step 'step': other value of k in kwargs (1 -> 2)",
    ),
    "class in a keyword": (
        {
            "code": f"class C:\n    def n(self):\n        return 1\n{STEP}run.kwargs.c.n()",
            "kwargs": "{'c': C()}",
        },
        {
            "code": f"class C:\n    def n(self):\n        return 2\n{STEP}run.kwargs.c.n()",
            "kwargs": "{'c': C()}",
        },
        "other code in script.C.n",
    ),
    "class as a param": (
        {
            "code": "class M:\n    def n(self):\n        return 1\n"
            "def step(run):\n    run.fields.x = run.params.m().n()",
            "grid": "m=[M]",
        },
        {
            "code": "class M:\n    def n(self):\n        return 2\n"
            "def step(run):\n    run.fields.x = run.params.m().n()",
            "grid": "m=[M]",
        },
        "step 'step': other code in script.M.n",
    ),
    "functions that a decorator has made": (
        {
            "imports": "import functools",
            "code": f"{TIMES}F = [times(2), times(3)]\n{STEP}F[0](1)",
        },
        {
            "imports": "import functools",
            "code": f"{TIMES}F = [times(3), times(2)]\n{STEP}F[0](1)",
        },
        "other value of F in module script",
    ),
    "modules of the same name": (
        {
            "imports": "import one.settings\nimport two.settings",
            "code": f"{STEP}(one.settings.LR - two.settings.LR)",
            "one/settings": "LR = 1",
            "two/settings": "LR = 2",
        },
        {"one/settings": "LR = 2", "two/settings": "LR = 1"},
        "other value of LR in module settings",
    ),
    "attribute of a function": (
        {"code": f"def work():\n    return work.rate\nwork.rate = 1\n{STEP}work()"},
        {"code": f"def work():\n    return work.rate\nwork.rate = 2\n{STEP}work()"},
        "other value of rate in script.work (1 -> 2)",
    ),
    "script that edits itself before it executes": (
        {"code": f"from pathlib import Path\nLR = 1\n{STEP}1"},
        {
            "code": f"from pathlib import Path\n{STEP}2\n"
            "Path(__file__).write_text(Path(__file__).read_text().replace('N * 2', 'N * 1'))"
        },
        "other code in script.step",
    ),
}


@pytest.mark.parametrize(("before", "after", "named"), STALE.values(), ids=STALE)
def test_what_decides_a_result_is_noticed(project, before, after, named):
    project.write(**before)
    first = project.fork()
    project.write(**before | after)
    second = project.fork()
    assert first.startswith("[")
    assert second.startswith("REFUSED experiment 'e': the database has results of")
    assert named in second
    assert 'checkpoint="accept"' in second
    assert 'checkpoint="replace"' in second


WHOLE = {
    "imports": "import numpy as np\nimport pandas as pd\nimport helper\nfrom dataclasses import "
    "dataclass, field",
    "code": """
    NAMES = {"b", "a", "c", "d"}
    LOSS = {"one": lambda x: x, "two": lambda x: 2 * x}

    @dataclass
    class Cfg:
        rate: float = 0.1
        names: list = field(default_factory=list)

    class Base:
        def n(self):
            return 1

    class Model(Base):
        kinds = frozenset(("x", "y", "z"))
        def n(self):
            return super().n() + LOSS["one"](0)

    def unrelated():
        return 1

    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    def step(run):
        def inner(n: int = 3) -> int:
            class Local:
                rate = 1
            return n * Local.rate
        with np.errstate(all="ignore"):
            assert len(NAMES) == 4, "names"
        run.fields.x = run.params.N * helper.prepare() * Model().n() + inner() * even(4)
    """,
    "kwargs": '{"cfg": Cfg(), "frame": pd.DataFrame({"a": [1.5], "b": ["x"]}), '
    '"array": np.arange(5), "names": {"u", "v", "w"}, "a": 1, "b": 2}',
    "helper": """
    import functools
    LIMIT = 3
    UNUSED = 4
    lock = __import__("threading").Lock()
    def decorate(function):
        @functools.wraps(function)
        def wrapper():
            return function()
        return wrapper
    @decorate
    def prepare():
        return LIMIT
    """,
}


def edited(module, *pairs):
    text = WHOLE[module]
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return {module: text}


SAME = {
    "nothing": {},
    "comments and blank lines": edited(
        "code",
        ("def step(run):", "def step(run):\n        # a comment\n\n"),
        ("    def n(self):", "    def n(self):  # a comment\n"),
    ),
    "line numbers": edited("code", ("NAMES =", "\n\n    1 + 1\n    NAMES =")),
    "docstrings": edited(
        "code",
        ("def step(run):", 'def step(run):\n        """What it does."""'),
        ("class Local:", 'class Local:\n                """Docs."""'),
        ("class Model(Base):", 'class Model(Base):\n        """Docs."""'),
        ("inner(n: int = 3) -> int:", 'inner(n: int = 3) -> int:\n            """Docs."""'),
    ),
    "unrelated function": edited("code", ("return 1\n\n    def even", "return 2\n\n    def even")),
    "unrelated constant of a module": edited("helper", ("UNUSED = 4", "UNUSED = 5")),
    "order of a set": edited("code", ('{"b", "a", "c", "d"}', '{"d", "c", "b", "a"}')),
    "order of keywords": edited("kwargs", ('"a": 1, "b": 2', '"b": 2, "a": 1')),
    "order of imports": edited("imports", ("import numpy as np\nimport pandas as pd\nimport helper",
        "import helper\nimport pandas as pd\nimport numpy as np")),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project that was executed once."""
    project = Project(tmp_path_factory.mktemp("whole"))
    project.write(**WHOLE)
    project.result = project.run(PYTHONHASHSEED="1")
    assert project.result.startswith("[")
    return project


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_decides_nothing_is_never_refused(whole, change):
    whole.write(**WHOLE | change)
    assert whole.run(PYTHONHASHSEED="2") == whole.result


TRACED = """
import runpy, sys
def trace(*args):
    return trace
sys.settrace(trace)
runpy.run_path('script.py', run_name='__main__')
"""


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "script"),
        ("-c", TRACED),
    ],
    ids=["module", "traced"],
)
def test_other_ways_to_start_the_script_are_the_same(whole, command):
    whole.write(**WHOLE)
    assert whole.run(*command, PYTHONHASHSEED="3") == whole.result


IMPORTED = """
import mltraq_prefect as mltraq, script, numpy as np, pandas as pd
e = mltraq.create_session("sqlite:///project.db").add_experiment("e").add_runs(N=[1, 2])
e.execute(script.step, {kwargs}, backend="local", checkpoint=True)
print([run.fields.x for run in e.runs.values()])
"""


def test_a_script_that_is_imported_has_the_fingerprint_that_it_has_as_a_script(whole):
    whole.write(**WHOLE)
    kwargs = WHOLE["kwargs"].replace("Cfg()", "script.Cfg()")
    assert whole.run("-c", IMPORTED.format(kwargs=kwargs)) == whole.result


def test_a_lock_that_a_step_uses_is_said_not_to_be_followed(project):
    project.write(imports="import threading", code=f"L = threading.Lock()\n{STEP}1 or L")
    assert project.run() == "[1, 2]"
    assert "step 'step' reads what cannot be followed: value of L in module script" in project.log
    assert project.run() == "[1, 2]"
