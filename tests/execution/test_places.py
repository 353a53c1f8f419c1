"""Steps come from wherever Python can load code from, and are executed by other processes."""

import importlib
import importlib.util
import runpy
import sys
import types
import zipfile

from tests.ways import both_ways

HELPER = """
def twice(value):
    return 2 * value
"""

CODE = """
import sys

class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, value):
        return twice(value) * self.factor

def step(run):
    run.fields.x = run.params.scale(run.params.N)
    run.fields.is_imported = __name__ in sys.modules
    run.locals.scale = Scale(10)

def again(run):
    run.fields.y = run.locals.scale(run.params.N)
"""

FINDER = """
import importlib.util, sys

class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.endswith({end!r}) and "." not in name:
            return importlib.util.spec_from_file_location(name, {folder!r} + f"/{{name}}.py")

sys.meta_path.append(Finder)
"""


class Place:
    """A folder, with names of modules that no other test has."""

    count = 0

    def __init__(self, folder, monkeypatch):
        Place.count += 1
        self.folder, self.patch = folder, monkeypatch
        self.end = f"_of_place_{Place.count}"
        self.steps, self.helper = f"steps{self.end}", f"helper{self.end}"
        self.code = f"from {self.helper} import twice\n{CODE}"

    def write(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / f"{self.steps}.py").write_text(self.code)
        (folder / f"{self.helper}.py").write_text(HELPER)
        return str(folder)

    def imported(self):
        return vars(importlib.import_module(self.steps))


def folder_that_is_added_late(place):
    place.patch.syspath_prepend(place.write(place.folder / "late"))
    return place.imported()


def folder_that_is_removed(place):
    folder = place.write(place.folder / "gone")
    sys.path.insert(0, folder)
    found = place.imported()
    sys.path.remove(folder)
    return found


def folder_beside_the_former_directory(place):
    place.patch.chdir(place.folder)
    place.write(place.folder / "beside")
    place.patch.setattr(sys, "path", ["beside", *sys.path])
    found = place.imported()
    (place.folder / "elsewhere").mkdir()
    place.patch.chdir(place.folder / "elsewhere")
    return found


def archive(place):
    file = place.folder / "code.zip"
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr(f"{place.steps}.py", place.code)
        opened.writestr(f"{place.helper}.py", HELPER)
    place.patch.syspath_prepend(str(file))
    return place.imported()


def package_in_two_folders(place):
    space = f"space{place.end}"
    for part, name, text in [("a", "steps", CODE), ("b", "helper", HELPER)]:
        (place.folder / part / space).mkdir(parents=True)
        text = text if name == "helper" else f"from {space}.helper import twice\n{text}"
        (place.folder / part / space / f"{name}.py").write_text(text)
        place.patch.syspath_prepend(str(place.folder / part))
    return vars(importlib.import_module(f"{space}.steps"))


def path_that_is_run(place):
    place.patch.syspath_prepend(place.write(place.folder / "run"))
    return runpy.run_path(str(place.folder / "run" / f"{place.steps}.py"))


def module_that_is_run(place):
    place.patch.syspath_prepend(place.write(place.folder / "run"))
    return runpy.run_module(place.steps, alter_sys=True)


def text_that_is_executed(place):
    space = {}
    exec(HELPER + CODE, space)
    return space


def text_that_is_executed_under_a_name(place):
    space = {"__name__": place.steps}
    exec(HELPER + CODE, space)
    return space


def module_made_of_text(place):
    module = types.ModuleType(place.steps)
    place.patch.setitem(sys.modules, place.steps, module)
    exec(HELPER + CODE, vars(module))
    return vars(module)


def file_loaded_under_a_name(place):
    file = place.folder / "file.py"
    file.write_text(HELPER + CODE)
    spec = importlib.util.spec_from_file_location(place.steps, file)
    module = importlib.util.module_from_spec(spec)
    place.patch.setitem(sys.modules, place.steps, module)
    spec.loader.exec_module(module)
    return vars(module)


def finder_of_the_program(place):
    place.patch.setattr(sys, "meta_path", [*sys.meta_path])
    folder = place.write(place.folder / "found")
    exec(FINDER.format(end=place.end, folder=folder), {"__name__": f"finder{place.end}"})
    return place.imported()


def finder_that_is_installed(place):
    """As an editable install makes it; here `sitecustomize` stands for its ``.pth`` file."""
    place.patch.setattr(sys, "meta_path", [*sys.meta_path])
    folder, installed = place.write(place.folder / "found"), place.folder / "site-packages"
    installed.mkdir()
    text = FINDER.format(end=place.end, folder=folder)
    (installed / f"editable{place.end}.py").write_text(text)
    (installed / "sitecustomize.py").write_text(f"import editable{place.end}")
    place.patch.setenv("PYTHONPATH", str(installed))
    place.patch.syspath_prepend(str(installed))
    importlib.import_module(f"editable{place.end}")
    return place.imported()


IMPORTED = [
    folder_that_is_added_late,
    archive,
    package_in_two_folders,
    finder_that_is_installed,
]
BY_VALUE = [
    folder_that_is_removed,
    folder_beside_the_former_directory,
    path_that_is_run,
    module_that_is_run,
    text_that_is_executed,
    text_that_is_executed_under_a_name,
    module_made_of_text,
    file_loaded_under_a_name,
    finder_of_the_program,
]


def name(load):
    return load.__name__


@both_ways("load", IMPORTED + BY_VALUE, with_task_runs=[archive, module_that_is_run], ids=name)
def test_steps_are_loaded_from(load, session, tmp_path, monkeypatch):
    code = load(Place(tmp_path, monkeypatch))
    experiment = session.add_experiment("e").add_runs(N=[1, 2], scale=[code["Scale"](1)])
    experiment.execute([code["step"], code["again"]], n_jobs=1)
    runs = experiment.runs.values()
    assert [(run.fields.x, run.fields.y) for run in runs] == [(2, 20), (4, 40)]
    assert all(isinstance(run.params.scale, code["Scale"]) for run in runs)
    assert load in BY_VALUE or all(run.fields.is_imported for run in runs)
