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

#define EXPECT_FIELD(_test, _make, _field, _value, _name)		\
	do {								\
		_make(rec);						\
		rec->_field = _value;					\
		KUNIT_EXPECT_STREQ(_test, _name,			\
				   pci_liveupdate_check_dev_ser(rec) ?: ""); \
	} while (0)

static void record_damaged(struct kunit *test)
{
	struct pci_dev_ser *rec = new_record(test);

	EXPECT_FIELD(test, good_function, kind, 0, "kind");
	EXPECT_FIELD(test, good_function, kind, 3, "kind");
	EXPECT_FIELD(test, good_function, kind, PCI_SER_BRIDGE, "header type");
	EXPECT_FIELD(test, good_function, hdr_type, 2, "header type");
	EXPECT_FIELD(test, good_bridge, hdr_type, 0, "header type");
	EXPECT_FIELD(test, good_function, groups, 0, "groups");
	EXPECT_FIELD(test, good_function, flags, BIT(31) | PCI_SER_F_FROZEN,
		     "flags");
	EXPECT_FIELD(test, good_function, flags, PCI_SER_F_SERIAL, "frozen flag");
	EXPECT_FIELD(test, good_function, flags, PCI_SER_F_FROZEN,
		     "serial number");
	EXPECT_FIELD(test, good_function, vendor, 0, "vendor");
	EXPECT_FIELD(test, good_function, vendor, 0xffff, "vendor");
	EXPECT_FIELD(test, good_function, class, 0x01020000, "class");
	EXPECT_FIELD(test, good_function, refcount, 0, "reference count");
	EXPECT_FIELD(test, good_function, refcount, 2, "reference count");
	EXPECT_FIELD(test, good_bridge, refcount, 0, "reference count");
	EXPECT_FIELD(test, good_function, driver[0], 0, "driver");
	EXPECT_FIELD(test, good_function, reserved0, 1, "reserved field");
	EXPECT_FIELD(test, good_function, reserved1, 1, "reserved field");
	EXPECT_FIELD(test, good_function, reserved[0], 1, "reserved field");
	EXPECT_FIELD(test, good_function, reserved[sizeof(rec->reserved) - 1], 1,
		     "reserved field");

	good_function(rec);
	memset(rec->driver, 'x', sizeof(rec->driver));
	KUNIT_EXPECT_STREQ(test, "driver",
			   pci_liveupdate_check_dev_ser(rec) ?: "");
}

static void record_compare(struct kunit *test)
{
	struct pci_dev_ser *rec = new_record(test), *now = new_record(test);
	u64 old, new;

#define EXPECT_DIFFERS(_field, _value, _name)				\
	do {								\
		const char *_field_name;				\
									\
		good_function(now);					\
		now->_field = _value;					\
		_field_name = pci_liveupdate_compare(rec, now, &old, &new); \
		KUNIT_EXPECT_STREQ(test, _name, _field_name ?: "");	\
		KUNIT_EXPECT_EQ(test, old, (u64)rec->_field);		\
		KUNIT_EXPECT_EQ(test, new, (u64)now->_field);		\
	} while (0)

	good_function(rec);
	good_function(now);
	KUNIT_EXPECT_NULL(test, pci_liveupdate_compare(rec, now, &old, &new));
	/* What the user may change, and who drives it, is not identity. */
	now->command = 0;
	memset(now->driver, 0, sizeof(now->driver));
	KUNIT_EXPECT_NULL(test, pci_liveupdate_compare(rec, now, &old, &new));

	EXPECT_DIFFERS(vendor, 0x1af4, "vendor");
	EXPECT_DIFFERS(device, 1, "device");
	EXPECT_DIFFERS(hdr_type, PCI_HEADER_TYPE_BRIDGE, "header type");
	EXPECT_DIFFERS(class, 0x010802, "class");
	EXPECT_DIFFERS(revision, 7, "revision");
	EXPECT_DIFFERS(subsystem_vendor, 1, "subsystem vendor");
	EXPECT_DIFFERS(subsystem_device, 1, "subsystem device");
	EXPECT_DIFFERS(serial, 1, "serial number");
#undef EXPECT_DIFFERS
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
