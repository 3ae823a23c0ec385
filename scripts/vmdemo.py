# SPDX-License-Identifier: GPL-2.0-only
"""What "vmtest demo" shows while it runs and when it is over: a line that counts the frames
of the stream, and a picture of them with the phases of the kexec.

Both are made of what QEMU's trace says, the guest is not asked: a frame has arrived when the
network card is done with it (e1000e_rx_written_to_guest, one line for each frame, with the
host's time; a filter-dump would only say when a frame came to the card). Whether its DMA was
rejected the card does not know; the guest's numbers and checksums tell.
"""

import subprocess
import sys
import time
from pathlib import Path

import vmwitness

# What goes on from a mark on, and the mark's name in the picture.
PHASES = {
    "START": ("in service", "start"),
    "USER1": ("being preserved", "preserve"),
    "PRESERVED": ("preserved", "preserved"),
    "JUMP": ("reboot(): freeze, shutdown", "reboot()"),
    "ENTERED": ("the new kernel boots", "new kernel"),
    "BOOTED": ("user space runs", "user space"),
    "RETRIEVED": ("retrieved", "retrieved"),
    "USER2": ("being attached", None),
    "OPENED": ("attached", "attached"),
    "FINISHED": ("finished", "finished"),
    "CLOSED": ("closed", "closed"),
    "END": ("over", None),
}
BIN_MS = 10
TEXT_BIN_MS = 50
# Marks that are closer, in parts of the picture's width, share a label.
NEAR = 0.016
PAUSE = 0.1


class Counter:
    """The live line. On a terminal it is always the last one; elsewhere there is one for each
    phase and each second."""

    def __init__(self, vm, out=sys.stdout):
        self.vm, self.out, self.tty = vm, out, out.isatty()
        self.start = time.monotonic()
        self.witness = vmwitness.Witness(None, {}, {}, {})
        self.trace, self.rest = None, ""
        self.said = None

    def _read(self):
        """What the trace has that is new."""
        path = getattr(self.vm, "dir", None)
        if not self.trace and path and (path / "trace.log").exists():
            self.trace = open(path / "trace.log", encoding="ascii", errors="replace")
        if self.trace:
            *lines, self.rest = (self.rest + self.trace.read()).split("\n")
            for line in lines:
                self.witness.feed(line)

    def _text(self):
        mark = max(self.witness.marks, default=None)
        sent = sum(s.sent for s in self.vm.senders.values())
        phase = PHASES.get(mark.name, ("",))[0] if mark else "boots"
        return phase, f"{self._time()}  frames: {sent} sent, {len(self.witness.frames)} " \
                      f"arrived; {phase}"

    def _time(self):
        return f"{time.monotonic() - self.start:7.2f} s"

    def update(self):
        self._read()
        phase, text = self._text()
        if self.tty:
            self.out.write(f"\r\x1b[K{text}")
        elif (phase, int(time.monotonic())) != self.said:
            self.said = phase, int(time.monotonic())
            self.out.write(text + "\n")
        self.out.flush()

    def step(self, line):
        """A line of the guest's."""
        clear = "\r\x1b[K" if self.tty else ""
        self.out.write(f"{clear}{self._time()}  {line[2:]}\n")
        self.update()

    def close(self):
        self.update()
        if self.tty:
            self.out.write("\n")
        if self.trace:
            self.trace.close()
            self.trace = None


# --- the picture ------------------------------------------------------------------------


def bins(frames, first, last, width):
    """[(start of the bin, frames in it)]"""
    counts = [0] * (int((last - first) / width) + 1)
    for t in frames:
        if first <= t <= last:
            counts[int((t - first) / width)] += 1
    return [(first + i * width, n) for i, n in enumerate(counts)]


def labels(marks, span):
    """[(time, text)]: marks that are too close together share one."""
    out = []
    for name, when in marks:
        text = PHASES.get(name, (None, None))[1]
        if not text:
            continue
        if out and when - out[-1][0] < NEAR * span:
            out[-1] = out[-1][0], f"{out[-1][1]}, {text}"
        else:
            out.append((when, text))
    return out


def write_data(directory, name, timeline, first, last):
    """Milliseconds, counted from the mark JUMP."""
    jump = next(t for mark, _, t in timeline["marks"] if mark == "JUMP")
    frames = [t - jump for t in timeline["frames"]]
    marks = [(mark, t - jump) for mark, _, t in timeline["marks"]]
    for suffix, width in (("", BIN_MS), ("-text", TEXT_BIN_MS)):
        (directory / f"{name}{suffix}.dat").write_text(
            "".join(f"{t + width / 2:.0f} {n}\n" for t, n in bins(frames, first, last, width)),
            encoding="ascii")
    (directory / f"{name}.marks").write_text(
        "".join(f"{t:.1f} \"{text}\"\n" for t, text in labels(marks, last - first)),
        encoding="ascii")


def span(timelines):
    """From the first mark to the last of all pictures, in milliseconds from JUMP."""
    ends = []
    for timeline in timelines:
        times = {mark: t for mark, _, t in timeline["marks"]}
        ends += [t - times["JUMP"] for t in times.values()]
    return min(ends), max(ends)


def picture(directory, timelines, rate):
    """Draw {name: timeline}, one above the other: PNG and SVG files in the directory, and a
    picture in characters, which is returned. Raises OSError or CalledProcessError."""
    directory.mkdir(parents=True, exist_ok=True)
    first, last = span(timelines.values())
    for name, timeline in timelines.items():
        write_data(directory, name, timeline, first, last)
    script = Path(__file__).resolve().parent / "demo.gp"
    args = [f"names='{' '.join(timelines)}'", f"first={first}", f"last={last}",
            f"bin={BIN_MS}", f"textbin={TEXT_BIN_MS}", f"rate={rate}"]
    p = subprocess.run(["gnuplot", "-e", ";".join(args), script], cwd=directory, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if p.returncode:
        raise OSError(p.stderr.strip())
    return "\n".join(line.rstrip() for line in p.stdout.replace("\f", "").splitlines()
                     if line.strip())


def legend(timelines):
    """A line for each kernel that says what the letters in the picture mean."""
    first, last = span(timelines.values())
    for name, timeline in timelines.items():
        jump = next(t for mark, _, t in timeline["marks"] if mark == "JUMP")
        named = labels([(mark, t - jump) for mark, _, t in timeline["marks"]], last - first)
        yield f"{name}: " + "; ".join(f"{chr(ord('A') + i)} {text}"
                                      for i, (_, text) in enumerate(named))
