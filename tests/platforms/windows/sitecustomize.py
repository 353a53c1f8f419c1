"""The standard library as the package finds it on Windows, in an interpreter on another system.

With this folder in PYTHONPATH, modules of the package import `os`, `signal` and `socket` without
what Windows has not. What others import is as ever: they know Windows themselves, and the standard
library takes this system for what it is. A file that is read as text without its encoding, which is
UTF-8 elsewhere, is an error. So is deleting or replacing a file that this process has open, or that
is read-only, whoever does it.
"""

import builtins
import contextlib
import errno
import functools
import os
import stat
import types
import warnings

PACKAGE = "mltraq_prefect"

MODULES = frozenset({"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"})
ABSENT = {
    name: frozenset(names.split())
    for name, names in {
        "os": """
            O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK PRIO_PROCESS WEXITSTATUS WIFEXITED WNOHANG
            chown confstr copy_file_range eventfd fchdir fchmod fchown fdatasync fork forkpty
            getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid
            getxattr killpg lockf memfd_create mkfifo nice openpty pidfd_open pipe2 posix_fallocate
            posix_spawn pread preadv pwrite pwritev readv register_at_fork sched_getaffinity
            sched_setaffinity sched_yield sendfile set_blocking setpgid setpriority setsid splice
            statvfs sync sysconf uname wait wait3 wait4 waitid writev
        """,
        "signal": """
            ITIMER_REAL SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP
            SIGUSR1 SIGUSR2 SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm pause pthread_kill
            pthread_sigmask setitimer sigwait
        """,
        "socket": "AF_UNIX CMSG_LEN MSG_DONTWAIT MSG_NOSIGNAL SCM_RIGHTS recv_fds send_fds",
    }.items()
}


class OfWindows(types.ModuleType):
    """A module without what it has not on Windows."""

    def __init__(self, module):
        super().__init__(module.__name__)
        self.__module = module

    def __getattr__(self, name):
        if (self.__name__, name) == ("os", "name"):
            return "nt"
        if name in ABSENT[self.__name__]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return getattr(self.__module, name)


_import = builtins.__import__


def import_on_windows(name, globals=None, locals=None, fromlist=(), level=0):
    importer = ((globals or {}).get("__name__") or "").partition(".")[0]
    if importer != PACKAGE or level:
        return _import(name, globals, locals, fromlist, level)
    if name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
    module = _import(name, globals, locals, fromlist, level)
    return OfWindows(module) if name in ABSENT else module


def refuse(path, is_moved=False, dir_fd=None, **_):
    """Refuse to delete a file that is open or read-only, or to move one that is open."""
    try:
        found = os.lstat(path, dir_fd=dir_fd)
    except OSError:
        return
    is_kept = not (is_moved or found.st_mode & stat.S_IWUSR)
    if stat.S_ISREG(found.st_mode) and (is_kept or is_open(found)):
        raise PermissionError(errno.EACCES, "Access is denied, as on Windows", os.fsdecode(path))


def is_open(found):
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(f"/proc/self/fd/{descriptor}"), found):
                return True
    return False


def deleting(function):
    @functools.wraps(function)
    def checked(path, **keywords):
        refuse(path, **keywords)
        return function(path, **keywords)

    return checked


def moving(function):
    @functools.wraps(function)
    def checked(path, target, **keywords):
        refuse(path, is_moved=True)
        refuse(target)
        return function(path, target, **keywords)

    return checked


os.remove = os.unlink = deleting(os.unlink)
os.rename, os.replace = moving(os.rename), moving(os.replace)

builtins.__import__ = import_on_windows
warnings.filterwarnings("error", category=EncodingWarning, module=PACKAGE)
