// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the IOMMU records that one kernel hands the next
 *
 * Each field that can be wrong has to be found out, by name, and nothing that is
 * right may be refused.
 */

#include <kunit/test.h>
#include <linux/iommu_liveupdate.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "liveupdate.h"

static const struct iommu_ser good_root = {
	.units = { 0x1000, 2, sizeof(struct iommu_unit_ser) },
	.domains = { 0x2000, 3, sizeof(struct iommu_domain_ser) },
	.devices = { 0x3000, 4, sizeof(struct iommu_device_ser) },
	.memory = { 0x4000, 5, sizeof(struct iommu_memory_ser) },
	.flags = IOMMU_SER_F_FROZEN,
};

static const struct iommu_unit_ser good_unit = {
	.reg_phys = 0xfed90000,
	.root_phys = 0x5000,
	.cap = 0xd2008c222f0606ull,
	.ecap = 0xf00f4aull,
	.ir_gap = 0x6000,
	.type = IOMMU_SER_UNIT_VTD,
	.flags = IOMMU_SER_UNIT_SCALABLE,
};

static const struct iommu_domain_ser good_domain = {
	.pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G,
	.mapped = SZ_1G,
	.flags = IOMMU_SER_DOMAIN_FIRST_STAGE | IOMMU_SER_DOMAIN_SNOOP,
	.nr_devices = 1,
};

static const struct iommu_device_ser good_device = {
	.bdf = 0x0020,
	.did = 3,
	.unit = 1,
	.domain = 2,
	.context_phys = 0x7000,
	.pasid_dir = 0x8000,
	.pasid_table = 0x9000,
	.pasid_order = 0,
};

/* Any of the records, and what to do to it. */
union record {
	struct iommu_ser root;
	struct iommu_unit_ser unit;
	struct iommu_domain_ser domain;
	struct iommu_device_ser device;
};

enum kind { ROOT, UNIT, DOMAIN, DEVICE };

struct damage {
	const char *name;
	const char *want;	/* NULL if it is right as it is */
	enum kind kind;
	void (*damage)(union record *rec);
};

static void no_damage(union record *rec)
{
}

static void root_unit_size(union record *rec)
{
	rec->root.units.entry_size++;
}

static void root_domain_size(union record *rec)
{
	rec->root.domains.entry_size--;
}

static void root_device_size(union record *rec)
{
	rec->root.devices.entry_size = 0;
}

static void root_memory_size(union record *rec)
{
	rec->root.memory.entry_size = U32_MAX;
}

static void root_no_units(union record *rec)
{
	rec->root.units.nr = 0;
	rec->root.units.head_pa = 0;
}

static void root_no_domains(union record *rec)
{
	rec->root.domains.nr = 0;
	rec->root.domains.head_pa = 0;
}

static void root_no_devices(union record *rec)
{
	rec->root.devices.nr = 0;
	rec->root.devices.head_pa = 0;
}

static void root_no_memory(union record *rec)
{
	rec->root.memory.nr = 0;
	rec->root.memory.head_pa = 0;
}

static void root_no_head(union record *rec)
{
	rec->root.memory.head_pa = 0;
}

static void root_head(union record *rec)
{
	rec->root.domains.head_pa++;
}

static void root_flags(union record *rec)
{
	rec->root.flags |= BIT(1);
}

static void root_frozen(union record *rec)
{
	rec->root.flags = 0;
}

static void root_reserved(union record *rec)
{
	rec->root.reserved[14] = 1;
}

static void unit_type(union record *rec)
{
	rec->unit.type++;
}

static void unit_no_root(union record *rec)
{
	rec->unit.root_phys = 0;
}

static void unit_root(union record *rec)
{
	rec->unit.root_phys++;
}

static void unit_no_gap(union record *rec)
{
	rec->unit.ir_gap = 0;
}

static void unit_gap(union record *rec)
{
	rec->unit.ir_gap++;
}

static void unit_legacy(union record *rec)
{
	rec->unit.flags = 0;
}

static void unit_flags(union record *rec)
{
	rec->unit.flags |= BIT(1);
}

static void unit_reserved(union record *rec)
{
	rec->unit.reserved[1] = 1;
}

static void domain_flags(union record *rec)
{
	rec->domain.flags |= BIT(4);
}

static void domain_pages(union record *rec)
{
	rec->domain.pgsize_bitmap = 0;
}

static void domain_devices(union record *rec)
{
	rec->domain.nr_devices = 0;
}

static void domain_empty(union record *rec)
{
	rec->domain.mapped = 0;
}

static void domain_reserved(union record *rec)
{
	rec->domain.reserved[4] = 1;
}

static void device_unit(union record *rec)
{
	rec->device.unit = 2;
}

static void device_domain(union record *rec)
{
	rec->device.domain = 3;
}

static void device_no_context(union record *rec)
{
	rec->device.context_phys = 0;
}

static void device_context(union record *rec)
{
	rec->device.context_phys++;
}

static void device_no_dir(union record *rec)
{
	rec->device.pasid_dir = 0;
}

static void device_no_table(union record *rec)
{
	rec->device.pasid_table = 0;
}

static void device_legacy(union record *rec)
{
	rec->device.pasid_dir = 0;
	rec->device.pasid_table = 0;
}

static void device_table(union record *rec)
{
	rec->device.pasid_table++;
}

static void device_order(union record *rec)
{
	rec->device.pasid_order = 64;
}

static void device_align(union record *rec)
{
	rec->device.pasid_dir = 0x9000;
	rec->device.pasid_order = 1;
}

static void device_reserved(union record *rec)
{
	rec->device.reserved[4] = 1;
}

static const struct damage damages[] = {
	{ "root", NULL, ROOT, no_damage },
	{ "root: size of units", "size of a record", ROOT, root_unit_size },
	{ "root: size of domains", "size of a record", ROOT, root_domain_size },
	{ "root: size of devices", "size of a record", ROOT, root_device_size },
	{ "root: size of memory", "size of a record", ROOT, root_memory_size },
	{ "root: no units", "number of records", ROOT, root_no_units },
	{ "root: no domains", "number of records", ROOT, root_no_domains },
	{ "root: no devices", "number of records", ROOT, root_no_devices },
	{ "root: no memory", NULL, ROOT, root_no_memory },
	{ "root: no address", "number of records", ROOT, root_no_head },
	{ "root: address", "address of records", ROOT, root_head },
	{ "root: flags", "flags", ROOT, root_flags },
	{ "root: not frozen", "frozen flag", ROOT, root_frozen },
	{ "root: reserved", "reserved field", ROOT, root_reserved },
	{ "unit", NULL, UNIT, no_damage },
	{ "unit: type", "type of an IOMMU", UNIT, unit_type },
	{ "unit: no root table", "root table", UNIT, unit_no_root },
	{ "unit: root table", "root table", UNIT, unit_root },
	{ "unit: no interrupt remapping", NULL, UNIT, unit_no_gap },
	{ "unit: interrupt remapping", "root table", UNIT, unit_gap },
	{ "unit: legacy mode", NULL, UNIT, unit_legacy },
	{ "unit: flags", "flags of an IOMMU", UNIT, unit_flags },
	{ "unit: reserved", "reserved field of an IOMMU", UNIT, unit_reserved },
	{ "domain", NULL, DOMAIN, no_damage },
	{ "domain: nothing mapped", NULL, DOMAIN, domain_empty },
	{ "domain: flags", "flags of a page table", DOMAIN, domain_flags },
	{ "domain: page sizes", "page sizes", DOMAIN, domain_pages },
	{ "domain: devices", "devices of a page table", DOMAIN, domain_devices },
	{ "domain: reserved", "reserved field of a page table", DOMAIN, domain_reserved },
	{ "device", NULL, DEVICE, no_damage },
	{ "device: legacy mode", NULL, DEVICE, device_legacy },
	{ "device: unit", "IOMMU of a device", DEVICE, device_unit },
	{ "device: domain", "page table of a device", DEVICE, device_domain },
	{ "device: no context table", "context table", DEVICE, device_no_context },
	{ "device: context table", "context table", DEVICE, device_context },
	{ "device: no PASID directory", "PASID table", DEVICE, device_no_dir },
	{ "device: no PASID table", "PASID table", DEVICE, device_no_table },
	{ "device: PASID table", "PASID table", DEVICE, device_table },
	{ "device: order of the directory", "PASID table", DEVICE, device_order },
	{ "device: place of the directory", "PASID table", DEVICE, device_align },
	{ "device: reserved", "reserved field of a device", DEVICE, device_reserved },
};

static void damage_desc(const struct damage *damage, char *desc)
{
	strscpy(desc, damage->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(record, damages, damage_desc);

static void record(struct kunit *test)
{
	const struct damage *damage = test->param_value;
	const char *bad = "kind";
	union record rec = {};

	switch (damage->kind) {
	case ROOT:
		rec.root = good_root;
		damage->damage(&rec);
		bad = iommu_liveupdate_check_ser(&rec.root);
		break;
	case UNIT:
		rec.unit = good_unit;
		damage->damage(&rec);
		bad = iommu_liveupdate_check_unit(&rec.unit);
		break;
	case DOMAIN:
		rec.domain = good_domain;
		damage->damage(&rec);
		bad = iommu_liveupdate_check_domain(&rec.domain);
		break;
	case DEVICE:
		rec.device = good_device;
		damage->damage(&rec);
		bad = iommu_liveupdate_check_device(&rec.device, &good_root);
		break;
	}

	if (damage->want)
		KUNIT_EXPECT_STREQ(test, bad ?: "accepted", damage->want);
	else
		KUNIT_EXPECT_NULL(test, bad);
}

static struct kunit_case iommu_liveupdate_cases[] = {
	KUNIT_CASE_PARAM(record, record_gen_params),
	{}
};

static struct kunit_suite iommu_liveupdate_suite = {
	.name = "iommu-liveupdate",
	.test_cases = iommu_liveupdate_cases,
};

kunit_test_suite(iommu_liveupdate_suite);
