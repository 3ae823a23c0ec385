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
    fault         the IOMMU rejected an access, be it logged by the guest or not
    msix-on, msix-off, msi-on, msi-off

and of the IOMMU, under the name "iommu":

    ire-off       it was told not to remap interrupts, and had been told to before
    ir-table      it was given a table for that
    msi           a message came that is to be remapped
    msi-remapped  and was, so it is an interrupt

ENTERED is a mark that nobody sets. JUMP is set before reboot(), and the old kernel goes
on to write: it masks interrupts and shuts devices down. Only then, in syscore_shutdown(),
does it mask the interrupt controllers of old, and nothing touches these any more until
the new kernel sets them up anew, long before it looks for devices. ENTERED is where the
old kernel masked them last. This is independent of the IOMMU, which may one day stay on.
What the old kernel writes after ENTERED would be held against the new one.

Two images of a device's configuration space, taken on either side of the jump, are
compared by config_differences(). remaining_writes() reads what the new kernel is known to
write from the documentation.
"""

import re
import struct
from collections import namedtuple

# In step with enum vmt_mark.
MARKS = {
    1: "START", 2: "PRESERVED", 3: "JUMP", 4: "BOOTED", 5: "RETRIEVED", 6: "OPENED",
    7: "FINISHED", 8: "CLOSED", 9: "END", 10: "RESUMED",
    11: "USER1", 12: "USER2", 13: "USER3",
}
ALL_MARKS = {*MARKS.values(), "ENTERED"}

EVENT_KINDS = ("write", "bme-clear", "decode-clear", "dstate", "reset", "sbr", "fault",
               "msix-on", "msix-off", "msi-on", "msi-off")

IOMMU_KINDS = ("ire-off", "ir-table", "msi", "msi-remapped")

# An event QEMU does not know only makes it print a warning: older versions lack some.
TRACE_EVENTS = (
    "pci_cfg_write", "pci_pm_bad_transition", "resettable_phase_hold_exec",
    "e1000e_core_ctrl_sw_reset", "pic_ioport_write", "vtd_dmar_fault",
    "e1000e_rx_written_to_guest", "vtd_reg_write_gcmd", "vtd_reg_ir_root",
)

# Many of them: only where they are looked at.
MESSAGE_EVENTS = ("vtd_ir_remap_msi_req", "vtd_ir_remap_msi")

LINE = re.compile(r"(?:\d+@(?P<time>\d+\.\d+):)?(?P<name>\w+) ?(?P<args>.*)")
CFG = re.compile(r"(?P<name>.*) (?P<bdf>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) @0x(?P<off>[0-9a-f]+) "
                 r"<- 0x(?P<val>[0-9a-f]+)")
PM = re.compile(r".* (?P<bdf>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) ")
NO_SOFT_RESET = 0x8
PIC = re.compile(r"master (?P<master>[01]) addr 0x(?P<addr>[01]) val 0x(?P<val>[0-9a-f]+)")
PIC_ICW1 = 0x10
# A register of the host bridge that cannot be written, and so is for the trace only.
TICK = 0x2c
FAULT = re.compile(r"sid 0x(?P<sid>[0-9a-f]+) fault (?P<what>\d+) addr 0x(?P<addr>[0-9a-f]+) "
                   r"write (?P<write>[01])")
MESSAGE = re.compile(r"\(addr 0x(?P<addr>[0-9a-f]+), ")
OBJ = re.compile(r"obj=(?P<obj>0x[0-9a-f]+)\((?P<type>[^)]*)\)")

GCMD = re.compile(r"status 0x(?P<status>[0-9a-f]+) value 0x(?P<value>[0-9a-f]+)")
GCMD_IRE = 1 << 25
IR_ROOT = re.compile(r"addr 0x(?P<addr>[0-9a-f]+) size 0x(?P<size>[0-9a-f]+)")

# Internal resets, traced without the device's name: charged to all of that type.
TYPE_RESETS = {"e1000e_core_ctrl_sw_reset": ("e1000e", "igb")}


class Event(namedtuple("Event", "time device kind text off val", defaults=(None, None))):
    """Something that happened to a device."""

    def is_in(self, cfg):
        """Is this write one of what is there already? The trace has no access size."""
        return any(int.from_bytes(cfg[self.off:self.off + size], "little") == self.val
                   for size in (1, 2, 4) if self.off % size == 0)


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
    """Reads a trace file, or, without a path, what feed() is given line by line.

    devices: {id: (bdf, [ids of the bridges above])} as QEMU tells it, bdf as "00:04.0";
    types: {id: QEMU's type name}; caps: {bdf: {"hdr":, "pm":, "exp":, ...}} as the guest
    printed them.
    """

    def __init__(self, path, devices, types, caps):
        self.marks, self.events = [], []
        self.ticks = {}         # (name of a mark, stage): what the guest's clock said
        self.tick = None
        self.faults = []        # (BDF, text), of whatever device
        self.messages = []      # (time, address) of each interrupt message that went through
        self.frames = []        # when a network card was done with one: written, or its DMA
                                # was rejected, which it cannot tell
        self.above = {i: bridges for i, (_, bridges) in devices.items()}
        self.devices = {i: Device(i, b, types.get(i, ""), {"hdr": 0, **caps.get(b, {})})
                        for i, (b, _) in devices.items()}
        self.by_bdf = {d.bdf: d for d in self.devices.values()}
        self.expected = []      # devices whose reset was just asked for by a config write
        self.jump = None        # the mark JUMP, until the new kernel is seen
        self.masked = None      # since then: when the interrupt controllers were masked,
                                # and the number of events until then
        if path:
            with open(path, encoding="ascii", errors="replace") as f:
                for line in f:
                    self.feed(line)

    def feed(self, line):
        m = LINE.match(line)
        if m:
            self._line(float(m["time"] or 0), m["name"], m["args"])

    def _line(self, time, name, args):
        if name == "pci_cfg_write":
            self._write(time, args)
        elif name == "pic_ioport_write":
            self._pic(time, args)
        elif name == "e1000e_rx_written_to_guest":
            self.frames.append(time)
        elif name == "vtd_dmar_fault":
            self._fault(time, args)
        elif name.startswith("vtd_"):
            self._vtd(time, name, args)
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

    def _fault(self, time, args):
        m = FAULT.match(args)
        if not m:
            return
        sid = int(m["sid"], 16)
        bdf = f"{sid >> 8:02x}:{sid >> 3 & 0x1f:02x}.{sid & 7}"
        text = f"DMA {'write' if m['write'] == '1' else 'read'} at 0x{m['addr']} rejected, " \
               f"reason {int(m['what']):#x}"
        self.faults.append((bdf, text))
        if bdf in self.by_bdf:
            self._add(time, self.by_bdf[bdf], "fault", text)

    def _pic(self, time, args):
        """Look for the moment when the old kernel is gone."""
        m = PIC.match(args)
        if not m or not self.jump:
            return
        val = int(m["val"], 16)
        if m["addr"] == "0" and val & PIC_ICW1:
            when, pos = self.masked or (time, len(self.events))
            mark = Mark(when, "ENTERED", self.jump.stage)
            self.events.insert(pos, mark)
            self.marks.append(mark)
            self.jump = None
        elif m["master"] == "0" and m["addr"] == "1" and val == 0xff:
            self.masked = time, len(self.events)

    def _vtd(self, time, name, args):
        kind = val = None
        if name == "vtd_reg_write_gcmd" and (m := GCMD.match(args)):
            val = int(m["value"], 16)
            if int(m["status"], 16) & GCMD_IRE and not val & GCMD_IRE:
                kind = "ire-off"
        elif name == "vtd_reg_ir_root" and (m := IR_ROOT.match(args)):
            kind, val = "ir-table", int(m["addr"], 16)
        elif name == "vtd_ir_remap_msi_req":
            kind = "msi"
        elif name == "vtd_ir_remap_msi":
            kind = "msi-remapped"
            m = MESSAGE.match(args)
            if m:
                self.messages.append((time, int(m["addr"], 16)))
        if kind:
            self.events.append(Event(time, "iommu", kind, f"{name} {args}", None, val))

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

    def _add(self, time, dev, kind, text, off=None, val=None):
        self.events.append(Event(time, dev.id, kind, text, off, val))

    def _write(self, time, args):
        m = CFG.match(args)
        if not m:
            return
        off, val = int(m["off"], 16), int(m["val"], 16)
        if m["bdf"] == "00:00.0" and off == TICK:
            self.tick = val
            return
        if m["bdf"] == "00:00.0" and off == 0x3c and val >> 8 and val & 0xff in MARKS:
            mark = Mark(time, MARKS[val & 0xff], val >> 8)
            self.marks.append(mark)
            self.events.append(mark)
            if self.tick is not None:
                self.ticks[mark.name, mark.stage] = self.tick
                self.tick = None
            self.jump, self.masked = mark if mark.name == "JUMP" else None, None
            return
        dev = self.by_bdf.get(m["bdf"])
        if not dev:
            return
        text = f"config write @{off:#04x} <- {val:#x}"
        kinds = dev.write(off, val)
        for kind in kinds:
            self._add(time, dev, kind, text, off, val)
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

    def touched(self, device, allowed):
        """Config writes between the jump and the first open, but for those allowed."""
        dev = self.devices[device]
        offs = {w.offset(dev.caps) for w in allowed} - {None}
        return [ev for ev in self.seen(device, "write", "ENTERED", "OPENED")
                if ev.off not in offs]

    def remapping(self):
        """For each jump, the interrupt remapping tables from there to the new kernel's
        first program, and the messages that came while the one for the gap was in use:
        [([address], [kind])]."""
        out = []
        for window in self.windows("JUMP", "BOOTED"):
            tables, kinds = [], []
            for ev in window:
                if ev.device != "iommu":
                    continue
                if ev.kind == "ir-table":
                    tables.append(ev.val)
                elif ev.kind in ("msi", "msi-remapped") and len(tables) == 1:
                    kinds.append(ev.kind)
            out.append((tables, kinds))
        return out

    def has_mark(self, name):
        return any(m.name == name for m in self.marks)

    def times(self, start, end):
        """(time of `start`, time of the next `end`), by the host's clock."""
        out, t0 = [], None
        for m in self.marks:
            if m.name == start:
                t0 = m.time
            elif m.name == end and t0 is not None:
                out.append((t0, m.time))
                t0 = None
        return out

    def elapsed(self, start, end):
        """Milliseconds from each `start` to the next `end`."""
        return [(t1 - t0) * 1000 for t0, t1 in self.times(start, end)]

    def writes_by_phase(self):
        """{device: {"ENTERED..BOOTED": n, ...}}, summed over all generations."""
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

    def arrived(self, addr, start, end):
        """How many interrupt messages to an address went through."""
        return sum(t0 <= t < t1 and addr == to
                   for t0, t1 in self.times(start, end) for t, to in self.messages)

    def frames_by_phase(self):
        """{"JUMP..ENTERED": n, ...}: frames received, summed over all generations."""
        out, marks = {}, sorted(self.marks)
        for mark, end in zip(marks, marks[1:]):
            key = f"{mark.name}..{end.name}"
            out[key] = out.get(key, 0) + sum(mark.time <= t < end.time for t in self.frames)
        return out

    def longest_pause(self, start=None, end=None):
        """The longest time between two frames, in milliseconds. With two marks, between
        those of which a part is between each `start` and the next `end`; None if there
        are no such frames."""
        windows = self.times(start, end) if start else [(0, float("inf"))]
        return longest(self.frames, windows)

    def timeline(self):
        """Frames and marks for a picture, in milliseconds from the first mark."""
        start = min((m.time for m in self.marks), default=0)
        return {"start": start,
                "frames": [round((t - start) * 1000, 1) for t in self.frames],
                "marks": [[m.name, m.stage, round((m.time - start) * 1000, 1)]
                          for m in sorted(self.marks)]}


def longest(times, windows):
    """The longest interval of ascending `times` that overlaps one of `windows`, in
    milliseconds, or None."""
    return max(((b - a) * 1000 for a, b in zip(times, times[1:])
                if any(a < t1 and b > t0 for t0, t1 in windows)), default=None)


# --- what the documentation admits ----------------------------------------------------

REMAINING = "Remaining writes"
REMAINING_LINE = re.compile(r"(?P<name>[^:]+): (?:(?P<cap>[a-z]+)\+)?0x(?P<off>[0-9a-f]+)"
                            r"(?: (?P<only>devices|bridges))?")


class RemainingWrite(namedtuple("RemainingWrite", "name cap off only")):
    """A register that the new kernel is known to write."""

    def offset(self, caps):
        """Where a device has it, None if it has not."""
        bridge = caps["hdr"] & 0x7f == 1
        if self.only and bridge != (self.only == "bridges"):
            return None
        if not self.cap:
            return self.off
        return caps[self.cap] + self.off if self.cap in caps else None


def remaining_writes(text):
    """The list in the section "Remaining writes" of the documentation, for programs:

        .. vmtest-allowed-writes:
           Device Control: exp+0x8 devices
           Command: 0x4

    a name, the offset, in hex, from a capability as /init calls it or from the start, and
    what it is limited to, if it is. Raises ValueError if there is no such list.
    """
    lines = text.splitlines()
    heads = [i for i, line in enumerate(lines[:-1])
             if line == REMAINING and re.fullmatch(r"([=~^-])\1+", lines[i + 1])]
    if len(heads) != 1:
        raise ValueError(f"{len(heads)} sections \"{REMAINING}\" instead of one")
    out, inside = None, False
    for i in range(heads[0] + 2, len(lines)):
        line = lines[i]
        if i + 1 < len(lines) and line and re.fullmatch(r"([=~^-])\1{2,}", lines[i + 1]):
            break                   # the next section
        if line == ".. vmtest-allowed-writes:":
            out, inside = out or [], True
        elif inside and line.strip() and line.startswith(" "):
            m = REMAINING_LINE.fullmatch(line.strip())
            if not m:
                raise ValueError(f"line {i + 1} is not NAME: OFFSET: {line.strip()}")
            out.append(RemainingWrite(m["name"], m["cap"], int(m["off"], 16), m["only"]))
        elif line:
            inside = False
    if out is None:
        raise ValueError(f"no vmtest-allowed-writes in the section \"{REMAINING}\"")
    return out


# --- configuration space before and after ---------------------------------------------

CFG_SIZE = 4096


def capabilities(cfg):
    """[(is it an extended one, id, offset)] of an image of configuration space."""
    out = []
    pos = cfg[0x34] & ~3 if cfg[6] & 0x10 else 0
    while pos >= 0x40 and len(out) < 48:
        out.append((False, cfg[pos], pos))
        pos = cfg[pos + 1] & ~3
    pos, loops = 0x100, 960
    while pos >= 0x100 and len(cfg) >= 4096 and loops:
        head, = struct.unpack_from("<I", cfg, pos)
        if head in (0, 0xffffffff):
            break
        out.append((True, head & 0xffff, pos))
        pos, loops = head >> 20 & ~3, loops - 1
    return out


def own_changes(cfg):
    """Bits that may differ after the jump: what the old kernel changes at freeze and when
    it shuts the services of a port down, and status bits that the hardware sets."""
    free = bytearray(len(cfg))
    bridge = cfg[0xe] & 0x7f == 1

    def bits(off, mask, size=2):
        for i, b in enumerate(mask.to_bytes(size, "little")):
            free[off + i] |= b

    bits(0x04, 0x0400)                          # INTx Disable
    bits(0x06, 0xf908)                          # errors, Interrupt Status
    if bridge:
        bits(0x1e, 0xf900)
    for extended, cap, pos in capabilities(cfg):
        if not extended and cap == 0x05:        # MSI
            ctl, = struct.unpack_from("<H", cfg, pos + 2)
            maskable = ctl & 0x100
            if maskable:
                at = pos + (0x10 if ctl & 0x80 else 0x0c)
                bits(at, 0xffffffff, 4)         # mask
                bits(at + 4, 0xffffffff, 4)     # pending
            if bridge or not maskable:
                bits(pos + 2, 0x0001)           # enable
            if bridge:
                bits(pos + 4, 0xffffffff, 4)    # the message is wiped
                bits(pos + 8, 0xffffffff if ctl & 0x80 else 0xffff, 4)
                bits(pos + 12, 0xffff if ctl & 0x80 else 0)
        elif not extended and cap == 0x11:      # MSI-X
            bits(pos + 2, 0xc000 if bridge else 0x4000)
        elif not extended and cap == 0x10:      # PCI Express
            bits(pos + 0x0a, 0x003f)            # device status
            bits(pos + 0x12, 0xc000)            # link status
            if bridge:
                bits(pos + 0x10, 0x0c00)        # interrupts for link bandwidth
                bits(pos + 0x18, 0x103f)        # interrupts of the slot
                bits(pos + 0x1a, 0x011f)        # slot status
                bits(pos + 0x1c, 0x0008)        # PME interrupt
                bits(pos + 0x20, 0x3ffff, 4)    # root status
        elif extended and cap == 0x0001:        # AER
            bits(pos + 0x04, 0xffffffff, 4)
            bits(pos + 0x10, 0xffffffff, 4)
            if bridge:
                bits(pos + 0x2c, 0x7, 4)        # root error command
                bits(pos + 0x30, 0xffffffff, 4)
                bits(pos + 0x34, 0xffffffff, 4)
        elif extended and cap == 0x001d and bridge:     # DPC
            bits(pos + 0x06, 0x0008)            # interrupt
            bits(pos + 0x08, 0xffff)            # status
    return free


def config_differences(before, after):
    """Texts about the bytes that are not what they were, and should be."""
    if len(before) != CFG_SIZE or len(after) != CFG_SIZE:
        return ["config space cannot be read"]
    free = own_changes(before)
    return [f"config space at {i:#05x} was {b:#04x}, is {a:#04x}"
            for i, (b, a, f) in enumerate(zip(before, after, free)) if (b ^ a) & ~f]
