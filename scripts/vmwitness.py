# SPDX-License-Identifier: GPL-2.0-only
"""The outside witness: what QEMU's trace says happened to the PCI devices.

QEMU traces every config write that reaches a device and every reset of one, in
the order in which they happened. The guest adds marks (see vmt_mark() in
tools/testing/vmtest/vmtest.h), which cut the trace into phases. Out of these a
Witness derives, per device, the events a live update must not show:

    write         any config write
    bme-clear     bus mastering was on and was turned off
    decode-clear  memory decoding was on and was turned off
    dstate        the power state changed
    reset         the function was reset: FLR, AF FLR, D3hot to D0 without No_Soft_Reset,
                  secondary bus reset, or whatever else QEMU resets it for
    sbr           (bridges) a secondary bus reset was asserted
    msix-on, msix-off, msi-on, msi-off
"""

import re
from collections import namedtuple

# In step with enum vmt_mark.
MARKS = {
    1: "START", 2: "PRESERVED", 3: "JUMP", 4: "BOOTED", 5: "RETRIEVED", 6: "OPENED",
    7: "FINISHED", 8: "CLOSED", 9: "END", 10: "RESUMED",
    11: "USER1", 12: "USER2", 13: "USER3",
}

EVENT_KINDS = ("write", "bme-clear", "decode-clear", "dstate", "reset", "sbr",
               "msix-on", "msix-off", "msi-on", "msi-off")

# An event QEMU does not know only makes it print a warning: older versions lack some.
TRACE_EVENTS = (
    "pci_cfg_write", "pci_pm_bad_transition", "resettable_phase_hold_exec",
    "e1000e_core_ctrl_sw_reset",
)

LINE = re.compile(r"(?:\d+@(?P<time>\d+\.\d+):)?(?P<name>\w+) ?(?P<args>.*)")
CFG = re.compile(r"(?P<name>.*) (?P<bdf>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) @0x(?P<off>[0-9a-f]+) "
                 r"<- 0x(?P<val>[0-9a-f]+)")
PM = re.compile(r".* (?P<bdf>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) ")
NO_SOFT_RESET = 0x8
OBJ = re.compile(r"obj=(?P<obj>0x[0-9a-f]+)\((?P<type>[^)]*)\)")

# Internal resets, traced without the device's name: charged to all of that type.
TYPE_RESETS = {"e1000e_core_ctrl_sw_reset": ("e1000e", "igb")}

Event = namedtuple("Event", "time device kind text")
Mark = namedtuple("Mark", "time name stage")


class Device:
    """One PCI function as the trace shows it."""

    def __init__(self, ident, bdf, qtype, caps):
        self.id, self.bdf, self.type, self.caps = ident, bdf, qtype, caps
        self.forget()

    def forget(self):
        """After a reset."""
        self.command = 0
        self.dstate = 0
        self.msix = self.msi = False

    def field(self, off, val, reg, width):
        """Value written to the register of `width` bytes at `reg`, or None.

        The trace has no access size. Accesses are naturally aligned, so one that
        starts at the register always covers its low byte, and one that starts
        below it in the same dword covers it only if it was wide enough; then the
        bits show unless they are zero, and a zero there is not told from a
        narrow write. The registers whose zero matters start a dword.
        """
        if off == reg:
            return val & ((1 << 8 * width) - 1)
        if off < reg < (off & ~3) + 4 and val >> 8 * (reg - off):
            return (val >> 8 * (reg - off)) & ((1 << 8 * width) - 1)
        if reg < off < reg + width:     # a byte in the middle
            return val << 8 * (off - reg)
        return None

    def write(self, off, val):
        """The kinds of events one config write is."""
        kinds = ["write"]
        caps = self.caps
        if off == 4:
            if self.command & 4 and not val & 4:
                kinds.append("bme-clear")
            if self.command & 2 and not val & 2:
                kinds.append("decode-clear")
            self.command = (self.command & 0xff00 if val < 0x100 else 0) | (val & 0xffff)
        if "pm" in caps and off == caps["pm"] + 4:
            if val & 3 != self.dstate:
                kinds.append("dstate")
                # QEMU does not act on it, real devices do.
                if self.dstate == 3 and not caps.get("pmcsr", 0) & NO_SOFT_RESET:
                    kinds.append("reset")
            self.dstate = val & 3
        if "exp" in caps:
            ctl = self.field(off, val, caps["exp"] + 8, 2)
            # On a bridge this bit is Bridge Configuration Retry Enable.
            if ctl and ctl & 0x8000 and not caps["hdr"] & 0x7f:
                kinds.append("reset")
        if "af" in caps:
            ctl = self.field(off, val, caps["af"] + 4, 1)
            if ctl and ctl & 1:
                kinds.append("reset")
        if caps["hdr"] & 0x7f == 1:
            ctl = self.field(off, val, 0x3e, 2)
            if ctl and ctl & 0x40:
                kinds.append("sbr")
        for cap, bit in (("msix", 0x8000), ("msi", 0x0001)):
            if cap not in caps:
                continue
            ctl = self.field(off, val, caps[cap] + 2, 2)
            if ctl is None or off == caps[cap] + 3 and cap == "msi":
                continue
            new = bool(ctl & bit)
            if new != getattr(self, cap):
                kinds.append(cap + ("-on" if new else "-off"))
            setattr(self, cap, new)
        return kinds


class Witness:
    """Reads a trace file.

    devices: {id: (bdf, [ids of the bridges above])} as QEMU tells it, bdf as "00:04.0";
    types: {id: QEMU's type name}; caps: {bdf: {"hdr":, "pm":, "exp":, ...}} as the guest
    printed them.
    """

    def __init__(self, path, devices, types, caps):
        self.marks, self.events = [], []
        self.above = {i: bridges for i, (_, bridges) in devices.items()}
        self.devices = {i: Device(i, b, types.get(i, ""), {"hdr": 0, **caps.get(b, {})})
                        for i, (b, _) in devices.items()}
        self.by_bdf = {d.bdf: d for d in self.devices.values()}
        self.expected = []      # devices whose reset was just asked for by a config write
        with open(path, encoding="ascii", errors="replace") as f:
            for line in f:
                m = LINE.match(line)
                if m:
                    self._line(float(m["time"] or 0), m["name"], m["args"])

    def _line(self, time, name, args):
        if name == "pci_cfg_write":
            self._write(time, args)
        elif name == "pci_pm_bad_transition":
            m = PM.match(args)
            if m and m["bdf"] in self.by_bdf:
                self._add(time, self.by_bdf[m["bdf"]], "dstate", f"{name} {args}")
        elif name == "resettable_phase_hold_exec":
            m = OBJ.match(args)
            if m:
                self._reset(time, m["type"], f"{name} {args}")
        elif name in TYPE_RESETS:
            for dev in self.devices.values():
                if dev.type in TYPE_RESETS[name]:
                    self._add(time, dev, "reset", name)

    def _reset(self, time, qtype, text):
        """QEMU resets a device of this type; the trace does not say which.

        It is the one whose config space (or whose bridge's) was just told so. If
        there is none, nobody in the guest asked: then it counts for all of them.
        """
        for dev in self.expected:
            if dev.type == qtype:
                self.expected.remove(dev)
                dev.forget()
                return
        for dev in self.devices.values():
            if dev.type == qtype:
                self._add(time, dev, "reset", text)
                dev.forget()

    def _add(self, time, dev, kind, text):
        self.events.append(Event(time, dev.id, kind, text))

    def _write(self, time, args):
        m = CFG.match(args)
        if not m:
            return
        off, val = int(m["off"], 16), int(m["val"], 16)
        if m["bdf"] == "00:00.0" and off == 0x3c and val >> 8 and val & 0xff in MARKS:
            mark = Mark(time, MARKS[val & 0xff], val >> 8)
            self.marks.append(mark)
            self.events.append(mark)
            return
        dev = self.by_bdf.get(m["bdf"])
        if not dev:
            return
        text = f"config write @{off:#04x} <- {val:#x}"
        kinds = dev.write(off, val)
        for kind in kinds:
            self._add(time, dev, kind, text)
        if "sbr" in kinds:
            below = [d for i, d in self.devices.items() if dev.id in self.above[i]]
            for d in below:
                self._add(time, d, "reset", f"secondary bus reset of {dev.id}")
            self.expected = below
        elif "reset" in kinds and "dstate" not in kinds:
            self.expected = [dev]

    def windows(self, start, end):
        """The stretches of the trace from each mark `start` to the next `end`."""
        found, cur = [], None
        for ev in self.events:
            if isinstance(ev, Mark):
                if ev.name == start and cur is None:
                    cur = []
                elif ev.name == end and cur is not None:
                    found.append(cur)
                    cur = None
            elif cur is not None:
                cur.append(ev)
        if cur is not None:             # it never came: all that was seen counts
            found.append(cur)
        return found

    def seen(self, device, kind, start, end):
        return [ev for win in self.windows(start, end) for ev in win
                if ev.device == device and ev.kind == kind]

    def has_mark(self, name):
        return any(m.name == name for m in self.marks)

    def elapsed(self, start, end):
        """Milliseconds from each `start` to the next `end`, by the host's clock."""
        out, t0 = [], None
        for m in self.marks:
            if m.name == start:
                t0 = m.time
            elif m.name == end and t0 is not None:
                out.append((m.time - t0) * 1000)
                t0 = None
        return out

    def writes_by_phase(self):
        """{device: {"JUMP..BOOTED": n, ...}}, summed over all generations."""
        out, phase, pending = {}, None, {}
        for ev in self.events:
            if isinstance(ev, Mark):
                for dev, n in pending.items() if phase else ():
                    phases = out.setdefault(dev, {})
                    key = f"{phase}..{ev.name}"
                    phases[key] = phases.get(key, 0) + n
                phase, pending = ev.name, {}
            elif ev.kind == "write":
                pending[ev.device] = pending.get(ev.device, 0) + 1
        return out
