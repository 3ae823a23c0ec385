// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the records that one kernel hands the next
 *
 * A record is input: each field that can be wrong has to be found out, by name,
 * and nothing that is right may be refused.
 */

#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/pci_ids.h>
#include <linux/pci_liveupdate.h>
#include <linux/pci_regs.h>
#include <linux/string.h>

#include "liveupdate.h"

static void good_function(struct pci_dev_ser *rec)
{
	*rec = (struct pci_dev_ser){
		.bdf = 0x0300,
		.kind = PCI_SER_FUNCTION,
		.hdr_type = PCI_HEADER_TYPE_NORMAL,
		.groups = PCI_SER_GROUP_IDENTITY,
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
	};
}

static void good_bridge(struct pci_dev_ser *rec)
{
	good_function(rec);
	rec->kind = PCI_SER_BRIDGE;
	rec->hdr_type = PCI_HEADER_TYPE_BRIDGE;
	rec->class = 0x060400;
	rec->refcount = 3;
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

static void record_damaged(struct kunit *test)
{
	static const struct damage damages[] = {
		DAMAGE("kind", u8, kind, 0),
		DAMAGE("kind", u8, kind, 3),
		DAMAGE("header type", u8, kind, PCI_SER_BRIDGE),
		DAMAGE("header type", u8, hdr_type, 2),
		DAMAGE("groups", u32, groups, 0),
		DAMAGE("flags", u32, flags, BIT(31) | PCI_SER_F_FROZEN),
		DAMAGE("frozen flag", u32, flags, PCI_SER_F_SERIAL),
		DAMAGE("serial number", u32, flags, PCI_SER_F_FROZEN),
		DAMAGE("vendor", u16, vendor, 0),
		DAMAGE("vendor", u16, vendor, 0xffff),
		DAMAGE("class", u32, class, 0x01020000),
		DAMAGE("reference count", u32, refcount, 0),
		DAMAGE("reference count", u32, refcount, 2),
		DAMAGE("driver", char, driver[0], 0),
		DAMAGE("reserved field", u8, reserved0, 1),
		DAMAGE("reserved field", u32, reserved1, 1),
		DAMAGE("reserved field", u8, reserved[0], 1),
		DAMAGE("reserved field", u8, reserved[735], 1),
	};
	static const struct damage bridge_damages[] = {
		DAMAGE("header type", u8, hdr_type, 0),
		DAMAGE("reference count", u32, refcount, 0),
	};
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

static void record_compare(struct kunit *test)
{
	static const struct damage damages[] = {
		DAMAGE("vendor", u16, vendor, 0x1af4),
		DAMAGE("device", u16, device, 1),
		DAMAGE("header type", u8, hdr_type, PCI_HEADER_TYPE_BRIDGE),
		DAMAGE("class", u32, class, 0x010802),
		DAMAGE("revision", u8, revision, 7),
		DAMAGE("subsystem vendor", u16, subsystem_vendor, 1),
		DAMAGE("subsystem device", u16, subsystem_device, 1),
		DAMAGE("serial number", u64, serial, 1),
	};
	struct pci_dev_ser *rec = new_record(test), *now = new_record(test);
	u64 old, new;

	good_function(rec);
	good_function(now);
	KUNIT_EXPECT_NULL(test, pci_liveupdate_compare(rec, now, &old, &new));
	/* What the user may change, and who drives it, is not identity. */
	now->command &= PCI_COMMAND_MASTER;
	memset(now->driver, 0, sizeof(now->driver));
	KUNIT_EXPECT_NULL(test, pci_liveupdate_compare(rec, now, &old, &new));

	for (int i = 0; i < ARRAY_SIZE(damages); i++) {
		good_function(now);
		do_damage(now, &damages[i]);
		KUNIT_EXPECT_STREQ(test, damages[i].name,
				   pci_liveupdate_compare(rec, now, &old, &new) ?: "");
		KUNIT_EXPECT_EQ(test, new, damages[i].value);
		KUNIT_EXPECT_NE(test, old, new);
	}

	good_function(now);
	now->command &= ~PCI_COMMAND_MASTER;
	KUNIT_EXPECT_STREQ(test, "bus master",
			   pci_liveupdate_compare(rec, now, &old, &new) ?: "");
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

static struct kunit_case pci_liveupdate_cases[] = {
	KUNIT_CASE(record_good),
	KUNIT_CASE(record_later_group),
	KUNIT_CASE(record_damaged),
	KUNIT_CASE(record_compare),
	KUNIT_CASE(root_check),
	KUNIT_CASE(state_check),
	{}
};

static struct kunit_suite pci_liveupdate_suite = {
	.name = "pci_liveupdate",
	.test_cases = pci_liveupdate_cases,
};

kunit_test_suite(pci_liveupdate_suite);
