// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the records that one kernel hands the next
 *
 * A record is input: each field that can be wrong has to be found out, by name,
 * and nothing that is right may be refused.
 */

#include <kunit/test.h>
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/pci_ids.h>
#include <linux/pci_liveupdate.h>
#include <linux/pci_regs.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "liveupdate.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "pci_liveupdate_test."

static unsigned int seed;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "Seed of the random records, to see a failure again (default: another one each time)");

static void good_function(struct pci_dev_ser *rec)
{
	*rec = (struct pci_dev_ser){
		.bdf = 0x0300,
		.kind = PCI_SER_FUNCTION,
		.hdr_type = PCI_HEADER_TYPE_NORMAL,
		.groups = PCI_SER_GROUP_IDENTITY | PCI_SER_GROUP_BARS |
			  PCI_SER_GROUP_LINK,
		.flags = PCI_SER_F_FROZEN | PCI_SER_F_SERIAL,
		.vendor = PCI_VENDOR_ID_INTEL,
		.device = 0x10d3,
		.subsystem_vendor = PCI_VENDOR_ID_INTEL,
		.subsystem_device = 0xa01f,
		.class = 0x020000,
		.command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
		.serial = 0x525400ffff123456ull,
		.refcount = 1,
		.driver = "vfio-pci",
		/* 128 KiB, 64 bits and prefetchable, I/O, and a ROM. */
		.bar_size = { SZ_128K, SZ_64K, 0, 32, 0, 0, SZ_256K },
		.bar = { 0xfe800000, 0xf000000c, 0x38, 0xc001, 0, 0, 0xfe840000 },
		.vf_bar_size = { SZ_16K, 0, 0, SZ_16K },
		.vf_bar = { 0xfe00000c, 0x38, 0, 0xfe02000c, 0x38 },
		.vf_buses = 1,
		.devctl = 0x2810,
		.devctl2 = 0x0009,
		.lnkctl = 0x0040,
		.acs_ctrl = 0x001d,
	};
}

static void good_bridge(struct pci_dev_ser *rec)
{
	good_function(rec);
	rec->kind = PCI_SER_BRIDGE;
	rec->hdr_type = PCI_HEADER_TYPE_BRIDGE;
	rec->groups |= PCI_SER_GROUP_BRIDGE;
	rec->class = 0x060400;
	rec->refcount = 3;
	memset(&rec->bar_size[2], 0, 4 * sizeof(rec->bar_size[0]));
	memset(&rec->bar[2], 0, 4 * sizeof(rec->bar[0]));
	rec->bar_size[1] = 0;
	rec->bar[1] = 0;
	rec->windows = PCI_SER_WINDOWS;
	rec->io = 0xc1c1;
	rec->io_hi = 0x00010001;
	rec->buses = 0x060403;
	rec->mem = 0xfe90fe80;
	rec->pref = 0xfff1f001;
	rec->pref_base_hi = 0x38;
	rec->pref_limit_hi = 0x39;
	strscpy(rec->driver, "pcieport");
}

static struct pci_dev_ser *new_record(struct kunit *test)
{
	struct pci_dev_ser *rec = kunit_kzalloc(test, sizeof(*rec), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, rec);
	return rec;
}

static void record_good(struct kunit *test)
{
	struct pci_dev_ser *rec = new_record(test);

	good_function(rec);
	KUNIT_EXPECT_NULL(test, pci_liveupdate_check_dev_ser(rec));
	good_bridge(rec);
	KUNIT_EXPECT_NULL(test, pci_liveupdate_check_dev_ser(rec));
	/* A bridge needs no driver. */
	memset(rec->driver, 0, sizeof(rec->driver));
	KUNIT_EXPECT_NULL(test, pci_liveupdate_check_dev_ser(rec));
}

/* Room that a later kernel uses is no damage, and no reason to look at it. */
static void record_later_group(struct kunit *test)
{
	struct pci_dev_ser *rec = new_record(test);

	good_function(rec);
	rec->groups |= BIT(7);
	rec->reserved[100] = 0x5a;
	KUNIT_EXPECT_NULL(test, pci_liveupdate_check_dev_ser(rec));
}

/* One field of a record that is otherwise good. */
struct damage {
	const char *name;	/* what must be reported */
	size_t offset;
	size_t size;
	u64 value;
};

#define DAMAGE(_name, _type, _field, _value) {			\
	.name = _name,							\
	.offset = offsetof(struct pci_dev_ser, _field),			\
	.size = sizeof(_type),						\
	.value = _value,						\
}

static void do_damage(struct pci_dev_ser *rec, const struct damage *damage)
{
	memcpy((void *)rec + damage->offset, &damage->value, damage->size);
}

/* Whatever else a record holds, this is refused and named. */
static const struct damage damages[] = {
	DAMAGE("kind", u8, kind, 0),
	DAMAGE("kind", u8, kind, 3),
	DAMAGE("header type", u8, kind, PCI_SER_BRIDGE),
	DAMAGE("header type", u8, hdr_type, PCI_HEADER_TYPE_BRIDGE),
	DAMAGE("header type", u8, hdr_type, PCI_HEADER_TYPE_CARDBUS),
	DAMAGE("groups", u32, groups, 0),
	DAMAGE("groups", u32, groups, PCI_SER_GROUPS & ~PCI_SER_GROUP_IDENTITY),
	DAMAGE("groups", u32, groups, PCI_SER_GROUPS & ~PCI_SER_GROUP_BARS),
	DAMAGE("groups", u32, groups, PCI_SER_GROUPS & ~PCI_SER_GROUP_LINK),
	DAMAGE("flags", u32, flags, BIT(31) | PCI_SER_F_FROZEN),
	DAMAGE("frozen flag", u32, flags, PCI_SER_F_SERIAL),
	DAMAGE("serial number", u32, flags, PCI_SER_F_FROZEN),
	DAMAGE("vendor", u16, vendor, 0),
	DAMAGE("vendor", u16, vendor, 0xffff),
	DAMAGE("class", u32, class, 0x01020000),
	DAMAGE("reference count", u32, refcount, 0),
	DAMAGE("reference count", u32, refcount, 2),
	DAMAGE("driver", char, driver[0], 0),
	DAMAGE("BAR size", u64, bar_size[0], 1),
	DAMAGE("BAR size", u64, bar_size[0], SZ_4K + SZ_8K),
	DAMAGE("BAR size", u64, bar_size[5], ~0ull),
	DAMAGE("BAR size", u64, bar_size[6], SZ_256K - 1),
	DAMAGE("VF BAR size", u64, vf_bar_size[0], SZ_2K),
	DAMAGE("VF BAR size", u64, vf_bar_size[5], SZ_8K + 1),
	DAMAGE("link control", u16, lnkctl, PCI_EXP_LNKCTL_RL),
	DAMAGE("link control", u16, lnkctl, PCI_EXP_LNKCTL_LABIE),
	DAMAGE("window of a function", u8, windows, PCI_SER_WINDOW_IO),
	DAMAGE("window of a function", u16, io, 0xf0),
	DAMAGE("window of a function", u32, buses, 0x040403),
	DAMAGE("window of a function", u32, mem, 0xfff0),
	DAMAGE("window of a function", u32, pref, 0xfff0),
	DAMAGE("window of a function", u32, pref_base_hi, 1),
	DAMAGE("window of a function", u32, pref_limit_hi, 1),
	DAMAGE("window of a function", u32, io_hi, 1),
	DAMAGE("reserved field", u8, reserved0, 1),
	DAMAGE("reserved field", u32, reserved1, 1),
	DAMAGE("reserved field", u8, reserved[0], 1),
	DAMAGE("reserved field", u8, reserved[543], 1),
};

static const struct damage bridge_damages[] = {
	DAMAGE("header type", u8, hdr_type, 0),
	DAMAGE("header type", u8, kind, PCI_SER_FUNCTION),
	DAMAGE("groups", u32, groups, PCI_SER_GROUPS & ~PCI_SER_GROUP_BRIDGE),
	DAMAGE("reference count", u32, refcount, 0),
	DAMAGE("bus numbers", u32, buses, 0),
	DAMAGE("bus numbers", u8, buses, 0xff),
	DAMAGE("bus numbers", u32, buses, 0x01060403),
	DAMAGE("windows", u8, windows, BIT(3)),
	DAMAGE("windows", u8, windows, PCI_SER_WINDOW_IO | PCI_SER_WINDOW_PREF64),
	DAMAGE("BAR size", u64, bar_size[1], 3),
	DAMAGE("link control", u16, lnkctl, PCI_EXP_LNKCTL_LBMIE),
	DAMAGE("reserved field", u8, reserved[17], 1),
};

static void record_damaged(struct kunit *test)
{
	struct pci_dev_ser *rec = new_record(test);

	for (int i = 0; i < ARRAY_SIZE(damages); i++) {
		good_function(rec);
		do_damage(rec, &damages[i]);
		KUNIT_EXPECT_STREQ_MSG(test, damages[i].name,
				       pci_liveupdate_check_dev_ser(rec) ?: "",
				       "damage %d", i);
	}
	for (int i = 0; i < ARRAY_SIZE(bridge_damages); i++) {
		good_bridge(rec);
		do_damage(rec, &bridge_damages[i]);
		KUNIT_EXPECT_STREQ_MSG(test, bridge_damages[i].name,
				       pci_liveupdate_check_dev_ser(rec) ?: "",
				       "damage %d of a bridge", i);
	}

	good_function(rec);
	memset(rec->driver, 'x', sizeof(rec->driver));
	KUNIT_EXPECT_STREQ(test, "driver",
			   pci_liveupdate_check_dev_ser(rec) ?: "");
}

/* Sizes that no BAR with such an address can have, and addresses likewise. */
static void record_bar_sizes(struct kunit *test)
{
	static const struct damage cases[] = {
		/* 32 bits do not reach so far, nor does I/O. */
		DAMAGE("BAR size", u64, bar_size[0], SZ_4G),
		DAMAGE("BAR size", u64, bar_size[3], SZ_4G),
		/* The address is no multiple of it. */
		DAMAGE("BAR size", u64, bar_size[0], SZ_16M),
		DAMAGE("BAR size", u64, bar_size[1], BIT_ULL(40)),
		DAMAGE("BAR size", u64, bar_size[3], SZ_64K),
		DAMAGE("BAR size", u64, bar_size[6], SZ_512K),
		DAMAGE("BAR size", u64, bar_size[6], SZ_4G),
		DAMAGE("BAR size", u32, bar[0], 0xfe801000),
		DAMAGE("BAR size", u32, bar[1], 0xf000100c),
		DAMAGE("BAR size", u32, bar[3], 0xc005),
		DAMAGE("BAR size", u32, bar[6], 0xfe820001),
		/* An upper half with a size, and a BAR without room for its own. */
		DAMAGE("BAR size", u64, bar_size[2], SZ_4K),
		DAMAGE("VF BAR size", u64, vf_bar_size[1], SZ_4K),
		DAMAGE("VF BAR size", u64, vf_bar_size[0], SZ_2G),
		DAMAGE("VF BAR size", u32, vf_bar[3], 0xfe021004),
	};
	struct pci_dev_ser *rec = new_record(test);

	for (int i = 0; i < ARRAY_SIZE(cases); i++) {
		good_function(rec);
		do_damage(rec, &cases[i]);
		KUNIT_EXPECT_STREQ_MSG(test, cases[i].name,
				       pci_liveupdate_check_dev_ser(rec) ?: "",
				       "damage %d", i);
	}

	good_function(rec);
	rec->bar[5] = 0xfe000004;
	rec->bar_size[5] = SZ_4K;
	KUNIT_EXPECT_STREQ(test, "BAR size", pci_liveupdate_check_dev_ser(rec) ?: "");
	/* The largest there are, a ROM that is on, and addresses that are not set. */
	good_function(rec);
	rec->bar[0] = 0x80000000;
	rec->bar_size[0] = SZ_2G;
	rec->bar[1] = 0x4;
	rec->bar[2] = 0x80000000;
	rec->bar_size[1] = BIT_ULL(63);
	rec->bar[3] = 1;
	rec->bar[6] |= PCI_ROM_ADDRESS_ENABLE;
	KUNIT_EXPECT_NULL(test, pci_liveupdate_check_dev_ser(rec));
}

/* The bridge is on bus 3: each of its numbers has to be above the one before. */
static void record_bus_numbers(struct kunit *test)
{
	static const struct {
		u32 buses;
		const char *bad;
	} cases[] = {
		{ 0x040403, "" },
		{ 0xff0403, "" },
		{ 0xfffe03, "" },
		{ 0x030303, "bus numbers" },	/* secondary is primary */
		{ 0x040203, "bus numbers" },	/* secondary below primary */
		{ 0x040503, "bus numbers" },	/* subordinate below secondary */
		{ 0x040402, "bus numbers" },	/* primary is not its own bus */
		{ 0x050404, "bus numbers" },
	};
	struct pci_dev_ser *rec = new_record(test);

	for (int i = 0; i < ARRAY_SIZE(cases); i++) {
		good_bridge(rec);
		rec->buses = cases[i].buses;
		KUNIT_EXPECT_STREQ_MSG(test, cases[i].bad,
				       pci_liveupdate_check_dev_ser(rec) ?: "",
				       "%#x", cases[i].buses);
	}
}

/* A field of pci_liveupdate_compare(), and the bits of it that count. */
struct field {
	const char *name;
	size_t offset;
	size_t size;
	u64 mask;
};

#define FIELD(_name, _type, _field, _mask) {				\
	.name = _name,							\
	.offset = offsetof(struct pci_dev_ser, _field),			\
	.size = sizeof(_type),						\
	.mask = _mask,							\
}

static const struct field compared[] = {
	FIELD("vendor", u16, vendor, ~0ull),
	FIELD("device", u16, device, ~0ull),
	FIELD("header type", u8, hdr_type, ~0ull),
	FIELD("class", u32, class, ~0ull),
	FIELD("revision", u8, revision, ~0ull),
	FIELD("subsystem vendor", u16, subsystem_vendor, ~0ull),
	FIELD("subsystem device", u16, subsystem_device, ~0ull),
	FIELD("serial number", u64, serial, ~0ull),
	FIELD("bus master", u16, command, PCI_COMMAND_MASTER),
	FIELD("decoding", u16, command, PCI_COMMAND_IO | PCI_COMMAND_MEMORY),
	FIELD("BAR 0", u32, bar[0], ~0ull),
	FIELD("BAR 1", u32, bar[1], ~0ull),
	FIELD("BAR 2", u32, bar[2], ~0ull),
	FIELD("BAR 3", u32, bar[3], ~0ull),
	FIELD("BAR 4", u32, bar[4], ~0ull),
	FIELD("BAR 5", u32, bar[5], ~0ull),
	FIELD("expansion ROM", u32, bar[6], ~0ull),
	FIELD("VF BAR 0", u32, vf_bar[0], ~0ull),
	FIELD("VF BAR 1", u32, vf_bar[1], ~0ull),
	FIELD("VF BAR 2", u32, vf_bar[2], ~0ull),
	FIELD("VF BAR 3", u32, vf_bar[3], ~0ull),
	FIELD("VF BAR 4", u32, vf_bar[4], ~0ull),
	FIELD("VF BAR 5", u32, vf_bar[5], ~0ull),
	FIELD("bus numbers", u32, buses, ~0ull),
	FIELD("I/O window", u16, io, ~0ull),
	FIELD("I/O window, upper half", u32, io_hi, ~0ull),
	FIELD("memory window", u32, mem, ~0ull),
	FIELD("prefetchable window", u32, pref, ~0ull),
	FIELD("prefetchable base, upper half", u32, pref_base_hi, ~0ull),
	FIELD("prefetchable limit, upper half", u32, pref_limit_hi, ~0ull),
	FIELD("device control", u16, devctl, ~0ull),
	FIELD("device control 2", u16, devctl2, ~0ull),
	FIELD("link control", u16, lnkctl, ~0ull),
	FIELD("ACS control", u16, acs_ctrl, ~0ull),
};

static u64 get_field(const struct pci_dev_ser *rec, const struct field *field)
{
	u64 val = 0;

	memcpy(&val, (const void *)rec + field->offset, field->size);
	return val;
}

static void flip_field(struct pci_dev_ser *rec, const struct field *field, u64 bits)
{
	u64 val = get_field(rec, field) ^ bits;

	memcpy((void *)rec + field->offset, &val, field->size);
}

static u64 field_bits(const struct field *field)
{
	return field->mask & GENMASK_ULL(8 * field->size - 1, 0);
}

static void record_compare(struct kunit *test)
{
	struct pci_dev_ser *rec = new_record(test), *now = new_record(test);
	u64 old, new;

	good_bridge(rec);
	good_bridge(now);
	KUNIT_EXPECT_NULL(test, pci_liveupdate_compare(rec, now, &old, &new));
	/* What the user may change, and who drives it, is not identity. */
	now->command &= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	now->command |= PCI_COMMAND_PARITY | PCI_COMMAND_INTX_DISABLE;
	memset(now->driver, 0, sizeof(now->driver));
	now->refcount++;
	/* What cannot be read from the device has no counterpart. */
	memset(now->bar_size, 0, sizeof(now->bar_size));
	memset(now->vf_bar_size, 0, sizeof(now->vf_bar_size));
	now->windows = 0;
	now->vf_buses = 0;
	KUNIT_EXPECT_NULL(test, pci_liveupdate_compare(rec, now, &old, &new));

	/* Each bit of each field counts. */
	for (int i = 0; i < ARRAY_SIZE(compared); i++) {
		const struct field *field = &compared[i];

		for (int bit = 0; bit < 64; bit++) {
			if (!(field_bits(field) & BIT_ULL(bit)))
				continue;
			good_bridge(now);
			flip_field(now, field, BIT_ULL(bit));
			KUNIT_EXPECT_STREQ(test, field->name,
					   pci_liveupdate_compare(rec, now, &old, &new) ?: "");
			KUNIT_EXPECT_NE(test, old, new);
			if (field->mask != ~0ull)
				continue;
			KUNIT_EXPECT_EQ(test, old, get_field(rec, field));
			KUNIT_EXPECT_EQ(test, new, get_field(now, field));
		}
	}
}

/* What writing all ones and reading back would give. */
static void bar_mask(struct kunit *test)
{
	static const struct {
		const char *what;
		u64 size[PCI_STD_NUM_BARS];
		u32 bar[PCI_STD_NUM_BARS];
		u32 mask[PCI_STD_NUM_BARS];
	} cases[] = {
		{ "none", {}, {}, {} },
		{ "32 bits", { SZ_4K, 0, SZ_1M, 0, 0, SZ_2G },
		  { 0xfe000000, 0, 0xfe100008, 0, 0, 0x80000000 },
		  { 0xfffff000, 0, 0xfff00000, 0, 0, 0x80000000 } },
		{ "64 bits", { SZ_16K, 0, 0, SZ_64K, 0, 0 },
		  { 0xfe000004, 0x38, 0, 0xfe10000c, 0x38, 0 },
		  { 0xffffc000, ~0u, 0, 0xffff0000, ~0u, 0 } },
		{ "64 bits, 4 GiB", { SZ_4G }, { 0xc, 0x38 }, { 0, ~0u } },
		{ "64 bits, 256 GiB", { SZ_4G << 6, 0, SZ_4K },
		  { 0xc, 0x40, 0xfe000000 }, { 0, 0xffffffc0, 0xfffff000 } },
		{ "64 bits, 8 EiB", { BIT_ULL(63) }, { 0xc, 0 }, { 0, 0x80000000 } },
		/* Below 4 GiB the upper half is a register all the same. */
		{ "64 bits, low address", { 0, SZ_8K, 0 }, { 0, 0xfe000004, 0 },
		  { 0, 0xffffe000, ~0u } },
		{ "I/O", { 32, 4, SZ_256 }, { 0xc001, 0xc021, 0xd001 },
		  { 0xffffffe0, 0xfffffffc, 0xffffff00 } },
		/* Bits 1 and 2 of an I/O BAR do not make it wide. */
		{ "I/O at an odd place", { 4, 4 }, { 0xc005, 0xc001 },
		  { 0xfffffffc, 0xfffffffc } },
		/* What an absent BAR reads does not make it wide. */
		{ "absent, with bits", { 0, SZ_4K }, { 0x4, 0xfe000000 },
		  { 0, 0xfffff000 } },
		{ "upper half that looks like a BAR", { SZ_4K, 0, SZ_4K },
		  { 0xfe000004, 0x4, 0xfe002000 }, { 0xfffff000, ~0u, 0xfffff000 } },
		/* Nothing behind it to be its upper half. */
		{ "64 bits, in the last place", { [5] = SZ_4K }, { [5] = 0xfe000004 },
		  { [5] = 0xfffff000 } },
	};
	const u64 rom_size = SZ_128K;
	const u32 rom = 0xfe840001;

	for (int i = 0; i < ARRAY_SIZE(cases); i++) {
		for (unsigned int j = 0; j < PCI_STD_NUM_BARS; j++)
			KUNIT_EXPECT_EQ_MSG(test, cases[i].mask[j],
					    pci_liveupdate_bar_mask(cases[i].size,
								    cases[i].bar,
								    PCI_STD_NUM_BARS, j),
					    "%s, BAR %u", cases[i].what, j);
	}

	KUNIT_EXPECT_EQ(test, 0xfffe0000,
			pci_liveupdate_bar_mask(&rom_size, &rom, 1, 0));
}

static void root_check(struct kunit *test)
{
	const struct pci_ser good = {
		.devices_pa = 16 * PAGE_SIZE,
		.nr_devices = 2,
		.entry_size = sizeof(struct pci_dev_ser),
	};
	struct pci_ser ser = good;

	KUNIT_EXPECT_NULL(test, pci_liveupdate_check_ser(&ser));
	ser.devices_pa = 0;
	KUNIT_EXPECT_STREQ(test, "address of the records",
			   pci_liveupdate_check_ser(&ser) ?: "");
	ser = good;
	ser.devices_pa++;
	KUNIT_EXPECT_STREQ(test, "address of the records",
			   pci_liveupdate_check_ser(&ser) ?: "");
	ser = good;
	ser.nr_devices = 0;
	KUNIT_EXPECT_STREQ(test, "number of records",
			   pci_liveupdate_check_ser(&ser) ?: "");
	ser = good;
	ser.entry_size--;
	KUNIT_EXPECT_STREQ(test, "size of a record",
			   pci_liveupdate_check_ser(&ser) ?: "");
	ser = good;
	ser.reserved[5] = 1;
	KUNIT_EXPECT_STREQ(test, "reserved field",
			   pci_liveupdate_check_ser(&ser) ?: "");
}

static void state_check(struct kunit *test)
{
	struct pci_state_ser *ser;
	const struct pci_state_reg_ser good = {
		.cap = PCI_CAP_ID_EXP, .width = 2, .offset = PCI_EXP_DEVCTL,
	};

	ser = kunit_kzalloc(test, sizeof(*ser), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ser);
	ser->nr_regs = 1;
	ser->regs[0] = good;
	KUNIT_EXPECT_NULL(test, pci_liveupdate_check_state(ser));

	ser->nr_regs = PCI_STATE_SER_REGS + 1;
	KUNIT_EXPECT_STREQ(test, "number of registers",
			   pci_liveupdate_check_state(ser) ?: "");
	ser->nr_regs = 1;
	ser->reserved = 1;
	KUNIT_EXPECT_STREQ(test, "reserved field",
			   pci_liveupdate_check_state(ser) ?: "");
	ser->reserved = 0;
	ser->regs[0].width = 3;
	KUNIT_EXPECT_STREQ(test, "register",
			   pci_liveupdate_check_state(ser) ?: "");
	ser->regs[0] = good;
	ser->regs[0].extended = 2;
	KUNIT_EXPECT_STREQ(test, "register",
			   pci_liveupdate_check_state(ser) ?: "");
	ser->regs[0] = good;
	ser->regs[0].offset = PCI_CFG_SPACE_EXP_SIZE;
	KUNIT_EXPECT_STREQ(test, "register",
			   pci_liveupdate_check_state(ser) ?: "");
	ser->regs[0] = good;
	ser->regs[0].reserved = 1;
	KUNIT_EXPECT_STREQ(test, "register",
			   pci_liveupdate_check_state(ser) ?: "");
}

/* ---- Random records --------------------------------------------------------- */

#define FUZZ_CASES	100000

static u32 below(struct rnd_state *rnd, u32 limit)
{
	return prandom_u32_state(rnd) % limit;
}

static void start_random(struct kunit *test, struct rnd_state *rnd)
{
	u32 used = seed ?: get_random_u32();

	kunit_info(test, "seed %u, again with pci_liveupdate_test.seed=%u\n", used, used);
	prandom_seed_state(rnd, used);
}

/* BARs as a device may have them, and what sizing would give. */
static void random_bars(struct rnd_state *rnd, u64 *size, u32 *bar, u32 *mask,
			unsigned int nr, u64 min)
{
	for (unsigned int i = 0; i < nr; i++) {
		u32 kind = below(rnd, 4);
		u64 addr, sz;

		size[i] = 0;
		bar[i] = 0;
		mask[i] = 0;
		if (kind == 3 || (kind == 2 && i + 1 == nr))
			continue;
		if (kind == 2) {
			sz = max(BIT_ULL(4 + below(rnd, 59)), min);
			addr = ((u64)prandom_u32_state(rnd) << 32 |
				prandom_u32_state(rnd)) & ~(sz - 1);
			size[i] = sz;
			bar[i] = lower_32_bits(addr) | PCI_BASE_ADDRESS_MEM_TYPE_64;
			mask[i] = lower_32_bits(~(sz - 1));
			i++;
			size[i] = 0;
			bar[i] = upper_32_bits(addr);
			mask[i] = upper_32_bits(~(sz - 1));
			continue;
		}
		sz = kind ? BIT_ULL(2 + below(rnd, 7)) : BIT_ULL(4 + below(rnd, 28));
		size[i] = max(sz, min);
		mask[i] = ~(size[i] - 1);
		bar[i] = (prandom_u32_state(rnd) & mask[i]) |
			 (kind ? PCI_BASE_ADDRESS_SPACE_IO : 0);
	}
}

/* Anything a kernel may write. @mask: what sizing of its BARs and VF BARs gives. */
static void random_good(struct rnd_state *rnd, struct pci_dev_ser *rec, u32 *mask)
{
	bool bridge = below(rnd, 2);
	u32 bus = below(rnd, 0xfe), secondary = bus + 1 + below(rnd, 0xff - bus);

	if (bridge)
		good_bridge(rec);
	else
		good_function(rec);
	rec->domain = below(rnd, 3);
	rec->bdf = bus << 8 | below(rnd, 0x100);
	rec->vendor = 1 + below(rnd, 0xfffe);
	rec->device = prandom_u32_state(rnd);
	rec->class = below(rnd, BIT(24));
	rec->revision = prandom_u32_state(rnd);
	rec->command = prandom_u32_state(rnd);
	rec->serial = 1 + below(rnd, 0xffff);
	random_bars(rnd, rec->bar_size, rec->bar, mask, bridge ? 2 : PCI_STD_NUM_BARS, 0);
	random_bars(rnd, rec->vf_bar_size, rec->vf_bar, mask + PCI_STD_NUM_BARS,
		    PCI_SER_VF_BARS, SZ_4K);
	rec->devctl = prandom_u32_state(rnd);
	rec->lnkctl = prandom_u32_state(rnd) & ~PCI_SER_LNKCTL_IGNORE;
	rec->acs_ctrl = prandom_u32_state(rnd);
	if (bridge) {
		rec->buses = bus | secondary << 8 |
			     (secondary + below(rnd, 0x100 - secondary)) << 16;
		rec->mem = prandom_u32_state(rnd);
		rec->refcount = 1 + below(rnd, 100);
	}
}

/* Each is aligned to its size, and fits into the registers it has. */
static bool sizes_sane(const u64 *size, const u32 *bar, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		u64 addr = bar[i] & ~0xfu;

		if (hweight64(size[i]) > 1)
			return false;
		if (!size[i] || bar[i] & 1)
			continue;
		if (bar[i] & 4) {
			if (i + 1 == nr || size[i + 1])
				return false;
			addr |= (u64)bar[i + 1] << 32;
		} else if (size[i] > U32_MAX) {
			return false;
		}
		if (addr % size[i])
			return false;
		i += !!(bar[i] & 4);
	}
	return true;
}

/* The ones of a mask end at the top. */
static bool masks_sane(const u64 *size, const u32 *bar, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		u32 zeros = ~pci_liveupdate_bar_mask(size, bar, nr, i);

		if (zeros & (zeros + 1))
			return false;
	}
	return true;
}

/* What the rest of the kernel takes for granted of a record that was accepted. */
static const char *broken_promise(const struct pci_dev_ser *rec)
{
	u8 primary = rec->buses, secondary = rec->buses >> 8, subordinate = rec->buses >> 16;

	if (rec->kind != PCI_SER_FUNCTION && rec->kind != PCI_SER_BRIDGE)
		return "kind";
	if (rec->hdr_type != (rec->kind == PCI_SER_BRIDGE ? PCI_HEADER_TYPE_BRIDGE :
							     PCI_HEADER_TYPE_NORMAL))
		return "header type";
	if (!(rec->flags & PCI_SER_F_FROZEN))
		return "frozen";
	if (!memchr(rec->driver, 0, sizeof(rec->driver)))
		return "driver not terminated";
	if (rec->kind == PCI_SER_FUNCTION && !*rec->driver)
		return "no driver";
	if (!rec->refcount)
		return "reference count";
	if (!sizes_sane(rec->bar_size, rec->bar, PCI_STD_NUM_BARS) ||
	    !sizes_sane(rec->vf_bar_size, rec->vf_bar, PCI_SER_VF_BARS))
		return "BAR that cannot have its size";
	if (!masks_sane(rec->bar_size, rec->bar, PCI_STD_NUM_BARS) ||
	    !masks_sane(rec->vf_bar_size, rec->vf_bar, PCI_SER_VF_BARS))
		return "mask with a hole";
	if (rec->kind == PCI_SER_BRIDGE &&
	    (primary != rec->bdf >> 8 || secondary <= primary || subordinate < secondary))
		return "bus numbers";
	if (rec->kind == PCI_SER_FUNCTION && rec->buses)
		return "bus numbers of a function";
	return NULL;
}

#define FUZZ_ASSERT(_test, _nr, _cond)						\
	KUNIT_ASSERT_TRUE_MSG(_test, _cond, "case %u", _nr)

/* Damaged in one field that is checked: refused and named, whatever else it holds. */
static void fuzz_damaged(struct kunit *test, struct rnd_state *rnd, unsigned int nr,
			 struct pci_dev_ser *rec)
{
	const struct damage *damage;

	if (rec->kind == PCI_SER_BRIDGE)
		damage = &bridge_damages[below(rnd, ARRAY_SIZE(bridge_damages))];
	else
		damage = &damages[below(rnd, ARRAY_SIZE(damages))];
	do_damage(rec, damage);
	KUNIT_ASSERT_STREQ_MSG(test, damage->name, pci_liveupdate_check_dev_ser(rec) ?: "",
			       "case %u", nr);
}

/* Different from the device in one field: named. */
static void fuzz_compared(struct kunit *test, struct rnd_state *rnd, unsigned int nr,
			  struct pci_dev_ser *rec, struct pci_dev_ser *now)
{
	const struct field *field = &compared[below(rnd, ARRAY_SIZE(compared))];
	u64 bits, old, new;

	do {
		bits = (u64)prandom_u32_state(rnd) << 32 | prandom_u32_state(rnd);
		bits &= field_bits(field);
	} while (!bits);

	*now = *rec;
	FUZZ_ASSERT(test, nr, !pci_liveupdate_compare(rec, now, &old, &new));
	flip_field(now, field, bits);
	KUNIT_ASSERT_STREQ_MSG(test, field->name,
			       pci_liveupdate_compare(rec, now, &old, &new) ?: "",
			       "case %u", nr);
	FUZZ_ASSERT(test, nr, old != new);
}

/* Cut off: what is missing is missed. */
static void fuzz_truncated(struct kunit *test, struct rnd_state *rnd, unsigned int nr,
			   struct pci_dev_ser *rec, struct pci_dev_ser *whole)
{
	size_t end = below(rnd, offsetof(struct pci_dev_ser, reserved) + 1);
	size_t least = rec->kind == PCI_SER_BRIDGE ? offsetof(struct pci_dev_ser, buses) :
						     offsetof(struct pci_dev_ser, driver);
	u64 old, new;
	bool same = true;

	*whole = *rec;
	memset((void *)rec + end, 0, sizeof(*rec) - end);
	if (end <= least)
		FUZZ_ASSERT(test, nr, pci_liveupdate_check_dev_ser(rec));
	for (int i = 0; i < ARRAY_SIZE(compared); i++)
		same &= !((get_field(rec, &compared[i]) ^ get_field(whole, &compared[i])) &
			  compared[i].mask);
	FUZZ_ASSERT(test, nr, same == !pci_liveupdate_compare(rec, whole, &old, &new));
}

/* Any bytes, after a start that has a chance or without one. */
static void fuzz_random(struct rnd_state *rnd, struct pci_dev_ser *rec)
{
	size_t start = 0, end = sizeof(*rec);

	/* A few bytes only, or the rest of the record would never be looked at. */
	if (below(rnd, 4)) {
		start = below(rnd, offsetof(struct pci_dev_ser, reserved));
		end = min(start + 1 + below(rnd, 8), sizeof(*rec));
	}
	prandom_bytes_state(rnd, (void *)rec + start, end - start);
}

static void record_fuzz(struct kunit *test)
{
	struct pci_dev_ser *rec = new_record(test), *other = new_record(test);
	u32 mask[PCI_STD_NUM_BARS + PCI_SER_VF_BARS];
	unsigned int accepted = 0, refused = 0;
	struct rnd_state rnd;

	start_random(test, &rnd);
	for (unsigned int nr = 0; nr < FUZZ_CASES; nr++) {
		const char *bad;

		memset(mask, 0, sizeof(mask));
		random_good(&rnd, rec, mask);
		switch (nr % 5) {
		case 0:
			KUNIT_ASSERT_STREQ_MSG(test, "", pci_liveupdate_check_dev_ser(rec) ?: "",
					       "case %u", nr);
			for (unsigned int i = 0; i < PCI_STD_NUM_BARS; i++)
				FUZZ_ASSERT(test, nr, mask[i] ==
					    pci_liveupdate_bar_mask(rec->bar_size, rec->bar,
								    PCI_STD_NUM_BARS, i));
			for (unsigned int i = 0; i < PCI_SER_VF_BARS; i++)
				FUZZ_ASSERT(test, nr, mask[PCI_STD_NUM_BARS + i] ==
					    pci_liveupdate_bar_mask(rec->vf_bar_size, rec->vf_bar,
								    PCI_SER_VF_BARS, i));
			break;
		case 1:
			fuzz_damaged(test, &rnd, nr, rec);
			break;
		case 2:
			fuzz_compared(test, &rnd, nr, rec, other);
			break;
		case 3:
			fuzz_truncated(test, &rnd, nr, rec, other);
			break;
		case 4:
			fuzz_random(&rnd, rec);
			break;
		}

		bad = pci_liveupdate_check_dev_ser(rec);
		if (bad) {
			refused++;
			continue;
		}
		accepted++;
		KUNIT_ASSERT_STREQ_MSG(test, "", broken_promise(rec) ?: "", "case %u", nr);
	}

	/* Both have been tried. */
	KUNIT_EXPECT_GT(test, accepted, FUZZ_CASES / 10);
	KUNIT_EXPECT_GT(test, refused, FUZZ_CASES / 10);
}

/* The root, and the saved state that vfio keeps. */
static void state_fuzz(struct kunit *test)
{
	struct pci_state_ser *ser = kunit_kzalloc(test, sizeof(*ser), GFP_KERNEL);
	unsigned int accepted = 0;
	struct rnd_state rnd;
	struct pci_ser root;

	KUNIT_ASSERT_NOT_NULL(test, ser);
	start_random(test, &rnd);
	for (unsigned int nr = 0; nr < FUZZ_CASES; nr++) {
		/* It starts as zeros and becomes what the cases before have left. */
		size_t pos = below(&rnd, sizeof(*ser) - 4);

		if (nr % 64 == 0)
			memset(ser, 0, sizeof(*ser));
		ser->nr_regs = below(&rnd, PCI_STATE_SER_REGS + 2);
		prandom_bytes_state(&rnd, (void *)ser + pos, 1 + below(&rnd, 4));
		for (unsigned int i = 0; i < ser->nr_regs && i < PCI_STATE_SER_REGS; i++) {
			if (ser->regs[i].width != 2 && below(&rnd, 8))
				ser->regs[i].width = 4;
		}
		if (!pci_liveupdate_check_state(ser)) {
			accepted++;
			FUZZ_ASSERT(test, nr, ser->nr_regs <= PCI_STATE_SER_REGS && !ser->reserved);
			for (unsigned int i = 0; i < ser->nr_regs; i++) {
				const struct pci_state_reg_ser *reg = &ser->regs[i];

				FUZZ_ASSERT(test, nr, reg->offset < PCI_CFG_SPACE_EXP_SIZE &&
					    reg->extended < 2 && !reg->reserved &&
					    (reg->width == 2 || reg->width == 4));
			}
		}

		root = (struct pci_ser){
			.devices_pa = (1 + below(&rnd, 1000)) * PAGE_SIZE,
			.nr_devices = 1 + below(&rnd, 1000),
			.entry_size = sizeof(struct pci_dev_ser),
		};
		FUZZ_ASSERT(test, nr, !pci_liveupdate_check_ser(&root));
		pos = below(&rnd, sizeof(root));
		((u8 *)&root)[pos] ^= 1 + below(&rnd, 255);
		if (!pci_liveupdate_check_ser(&root))
			FUZZ_ASSERT(test, nr, root.devices_pa && root.nr_devices &&
				    PAGE_ALIGNED(root.devices_pa) &&
				    root.entry_size == sizeof(struct pci_dev_ser) &&
				    pos < offsetof(struct pci_ser, reserved));
	}

	KUNIT_EXPECT_GT(test, accepted, FUZZ_CASES / 100);
	KUNIT_EXPECT_LT(test, accepted, FUZZ_CASES);
}

static struct kunit_case pci_liveupdate_cases[] = {
	KUNIT_CASE(record_good),
	KUNIT_CASE(record_later_group),
	KUNIT_CASE(record_damaged),
	KUNIT_CASE(record_bar_sizes),
	KUNIT_CASE(record_bus_numbers),
	KUNIT_CASE(record_compare),
	KUNIT_CASE(bar_mask),
	KUNIT_CASE(root_check),
	KUNIT_CASE(state_check),
	KUNIT_CASE(record_fuzz),
	KUNIT_CASE(state_fuzz),
	{}
};

static struct kunit_suite pci_liveupdate_suite = {
	.name = "pci_liveupdate",
	.test_cases = pci_liveupdate_cases,
};

kunit_test_suite(pci_liveupdate_suite);
