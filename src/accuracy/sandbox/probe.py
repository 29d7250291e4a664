# Looks from within at what the sandbox is said to do, and raises where it is not so.
import collections, copy, functools, hashlib, heapq, itertools, math, os, random, re, resource, string, typing

for name in ("CPU", "AS", "NPROC", "FSIZE", "NOFILE", "CORE"):
    limit = resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0]
    assert limit != resource.RLIM_INFINITY, f"RLIMIT_{name} is not set"
for privileged in (lambda: os.chroot("/"), lambda: os.setgroups([0])):
    try:
        privileged()
    except PermissionError:
        continue
    raise AssertionError("a privilege is left")
