# SPDX-License-Identifier: GPL-2.0-only
"""The kernel tree and the quilt series: what scripts/tree, refresh and series share.

build/stock    pristine source
build/linux    a copy of it, with our new files linked in and the series applied
build/.applied the content of each hooked file as 'tree' or 'refresh' left it

One rule makes all of this simple: an existing kernel file is changed by exactly
one patch, so a patch is nothing but the difference between stock and linux for
the files it owns.
"""
import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BUILD = REPO / "build"
STOCK = BUILD / "stock"
LINUX = BUILD / "linux"
APPLIED = BUILD / ".applied"
PATCHES = REPO / "patches"
SERIES = PATCHES / "series"

# Top-level directories of the repository which mirror the kernel's. 'scripts'
# is not among them: the repository has its own.
OVERLAY_DIRS = """arch block certs crypto Documentation drivers fs include init io_uring ipc
    kernel lib mm net samples security sound tools usr virt""".split()
# The test bench and the userspace part are ours alone and no part of the mail series.
NOT_MAILED = ("tools/testing/vmtest/", "tools/vmferry/")
# What is built of a tree lies in directories of this name in it, see lib.sh.
OUT = ".out-"
JUNK = re.compile(r"(~|\.orig|\.rej|\.o|\.pyc|\.sw.)$")


class Failed(Exception):
    """A message for the user; the program exits with status 1."""


def main(run):
    try:
        sys.exit(run(sys.argv[1:]))
    except Failed as e:
        print(f"{Path(sys.argv[0]).name}: {e}", file=sys.stderr)
        sys.exit(1)


def walk(top, rel=""):
    """Yield (path relative to top, stat) of everything that is no directory and not built."""
    with os.scandir(os.path.join(top, rel)) as entries:
        for e in entries:
            path = rel + e.name
            if not rel and e.name.startswith(OUT):
                continue
            if e.is_dir(follow_symlinks=False):
                yield from walk(top, path + "/")
            else:
                yield path, e.stat(follow_symlinks=False)


def overlay():
    """Our new files, by their path in the kernel tree."""
    found = []
    for d in OVERLAY_DIRS:
        if (REPO / d).is_dir():
            found += [p for p, _ in walk(REPO, d + "/")
                      if not JUNK.search(p) and "/__pycache__/" not in p]
    return sorted(found)


class Patch:
    """One quilt patch: a mail-like header (Subject, From, Overlay), a body, a diff."""

    def __init__(self, name):
        self.name = name
        self.path = PATCHES / name
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            raise Failed(f"patches/series names {name}, which does not exist") from None
        start = re.search(r"^(--- a/|diff |Index: )", text, re.M)
        cut = start.start() if start else len(text)
        self.header, self.diff = text[:cut], text[cut:]
        self.files = []
        for old, new in re.findall(r"^--- (\S+).*\n\+\+\+ (\S+)", self.diff, re.M):
            if "/dev/null" in (old, new):
                raise Failed(f"{name}: {old} -> {new}: a patch only changes existing files, "
                             "a new file belongs in the overlay")
            self.files.append(new.split("/", 1)[1])
        mail = email.message_from_string(self.header)
        self.subject = " ".join((mail["Subject"] or "").split())
        self.author = mail["From"]
        self.body = mail.get_payload().strip()
        if not self.author:
            signed = re.search(r"^Signed-off-by: (.*)$", self.body, re.M)
            self.author = signed and signed[1]
        self.overlay = " ".join(mail.get_all("Overlay", [])).split()

    def claims(self, path):
        return any(path == o or (o.endswith("/") and path.startswith(o)) for o in self.overlay)


def series():
    if not SERIES.exists():
        return []
    lines = (line.split("#")[0].split() for line in SERIES.read_text().splitlines())
    return [Patch(words[0]) for words in lines if words]


def owners(patches):
    """Map each hooked file to its patch."""
    owner = {}
    for p in patches:
        for f in p.files:
            if f in owner:
                raise Failed(f"{f} is changed by both {owner[f].name} and {p.name}: "
                             "one file, one patch")
            owner[f] = p
    return owner


def edited():
    """Files of build/linux that differ from build/stock: (changed, added, removed).

    Copies keep their time stamps, so only files whose size or time differs are read.
    """
    stock = {p: (s.st_size, s.st_mtime_ns) for p, s in walk(STOCK)}
    changed, added = [], []
    ours = set(overlay())
    for path, st in walk(LINUX):
        if JUNK.search(path) or path.startswith(".pc/") or "__pycache__/" in path:
            continue
        was = stock.get(path)
        if was is None:
            if path not in ours:
                added.append(path)
        elif was != (st.st_size, st.st_mtime_ns) and not same(STOCK / path, LINUX / path):
            changed.append(path)
    removed = [p for p in stock if not os.path.lexists(LINUX / p)]
    return sorted(changed), sorted(added), sorted(removed)


def read(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def same(a, b):
    return read(a) == read(b)


def write(path, data):
    """Write a file only when its content changes, so that make sees real changes only."""
    if read(path) == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return True


def stamp():
    """Identifies the series that build/linux has."""
    h = hashlib.sha256((STOCK / "Makefile").read_bytes())
    for f in sorted(PATCHES.glob("*")):
        h.update(f.name.encode() + b"\0" + f.read_bytes())
    return h.hexdigest().encode()


def remember(content):
    """Note what the series makes of each file: anything else later is an edit by hand."""
    store = APPLIED / "files"
    for path, _ in list(walk(store)) if store.is_dir() else []:
        if path not in content:
            (store / path).unlink()
    for f, data in content.items():
        write(store / f, data)
    write(APPLIED / "stamp", stamp())


def applied(path):
    """A file as the series left it when it was last applied or refreshed."""
    data = read(APPLIED / "files" / path)
    return read(STOCK / path) if data is None else data


def apply_series(patches):
    """Apply the series with quilt to copies of the files it changes; return {file: content}."""
    scratch = BUILD / ".apply"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for f, p in owners(patches).items():
        if not (STOCK / f).is_file():
            raise Failed(f"patches/{p.name} does not apply: {f} is not in the kernel source")
        (scratch / f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(STOCK / f, scratch / f)
    # A topic that is all new files has a header and no diff, which quilt takes for an error.
    with_diff = [p.name for p in patches if p.files]
    if not with_diff:
        return {}
    write(scratch / "series", "\n".join(with_diff).encode())
    # '--quiltrc -': what a user's own ~/.quiltrc says plays no role here.
    run = subprocess.run(["quilt", "--quiltrc", "-", "push", "-a", "--fuzz=0"], cwd=scratch,
                         env={**os.environ, "QUILT_PATCHES": str(PATCHES),
                              "QUILT_SERIES": str(scratch / "series"), "LC_ALL": "C"},
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        log = BUILD / "logs" / "quilt.log"
        write(log, run.stdout.encode())
        name = re.findall(r"^Applying patch (\S+)", run.stdout, re.M)[-1:]
        bad = re.findall(r"rejects in file (\S+)", run.stdout) \
            or re.findall(r"^patching file (\S+)", run.stdout, re.M)[-1:]
        raise Failed("\n".join(
            [f"patches/{Path(n).name} does not apply to {f}" for n in name for f in bad or ["?"]]
            + [f"(the whole output of quilt is in {log.relative_to(REPO)})"]))
    content = {f: (scratch / f).read_bytes() for f in owners(patches)}
    shutil.rmtree(scratch)
    return content
