// SPDX-License-Identifier: GPL-2.0-only
/*
 * lost: a device whose record is wrong, or that is not what was recorded, is lost.
 *
 * Each kernel but the last damages the records of its devices, each in another field,
 * and each but the first finds out: such a device is stopped, gets no driver, is not
 * handed out for its token, and the log names the field. So is a device below a bridge
 * with a damaged record. Two devices of the same session, one behind a port, stay as
 * they were, and are handed out, work and finish.
 *
 * A lost device is one that the administrator may give to a driver: the next kernel's
 * turn starts with that.
 *
 * "vmtest.last=" is the number of the last stage; all fields must have had their turn
 * by then. All devices are edu, GOOD_DEVS + FUNCTIONS of them on the root bus and
 * GOOD_DEVS - 1 + BRIDGES behind a port each, in order of BDF.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "lu_harness.h"
#include "lu_record.h"

#define FUNCTIONS	18	/* damaged ones on the root bus */
#define BRIDGES		8	/* damaged ports */
#define COUNT		(1 + FUNCTIONS + 1 + BRIDGES)

/* In order of BDF. */
#define ROOT		0	/* on the root bus, not damaged */
#define FUNCTION(n)	(1 + (n))
#define BEHIND		(1 + FUNCTIONS)	/* behind a port, not damaged */
#define BELOW(n)	(2 + FUNCTIONS + (n))

/* How a damage shows. */
enum how {
	CHECKED,	/* the record cannot be right */
	DIFFERS,	/* the device is another one */
	GONE,		/* where the record points nothing answers */
	TWICE,		/* it points to the next device in line, which has a record as well */
	VICTIM,		/* the next device in line */
};

struct damage {
	const char *name;	/* as the log has it */
	enum how how;
	unsigned int offset, size;
	uint64_t value;
	/* A second field, where it takes two. */
	unsigned int offset2, size2;
	uint64_t value2;
};

#define DAMAGE(_name, _how, _type, _field, _value) {			\
	.name = _name,							\
	.how = _how,							\
	.offset = offsetof(struct pci_dev_ser, _field),			\
	.size = sizeof(_type),						\
	.value = _value,						\
}

#define CHECK(name, type, field, value)		DAMAGE(name, CHECKED, type, field, value)
#define DIFFER(name, type, field, value)	DAMAGE(name, DIFFERS, type, field, value)

/* The value is one that no edu has. */
static const struct damage function_damages[] = {
	CHECK("kind", uint8_t, kind, 7),
	CHECK("header type", uint8_t, hdr_type, PCI_HEADER_TYPE_BRIDGE),
	CHECK("groups", uint32_t, groups, PCI_SER_GROUP_IDENTITY | PCI_SER_GROUP_LINK),
	CHECK("flags", uint32_t, flags, 0x80000000 | PCI_SER_F_FROZEN),
	CHECK("frozen flag", uint32_t, flags, 0),
	CHECK("vendor", uint16_t, vendor, 0xffff),
	CHECK("class", uint32_t, class, 0x0100ff00),
	CHECK("serial number", uint64_t, serial, 1),
	CHECK("reference count", uint32_t, refcount, 2),
	CHECK("driver", uint8_t, driver[0], 0),
	CHECK("BAR size", uint64_t, bar_size[0], 0x180000),
	CHECK("VF BAR size", uint64_t, vf_bar_size[0], 16),
	CHECK("link control", uint16_t, lnkctl, PCI_EXP_LNKCTL_RL),
	CHECK("window of a function", uint8_t, windows, PCI_SER_WINDOW_IO),
	CHECK("window of a function", uint16_t, io, 0x1010),
	CHECK("window of a function", uint32_t, buses, 0x010100),
	CHECK("window of a function", uint32_t, mem, 0xfff0),
	CHECK("window of a function", uint32_t, pref, 0xfff0),
	CHECK("window of a function", uint32_t, pref_base_hi, 1),
	CHECK("window of a function", uint32_t, pref_limit_hi, 1),
	CHECK("window of a function", uint32_t, io_hi, 1),
	CHECK("reserved field", uint8_t, reserved0, 1),
	CHECK("reserved field", uint32_t, reserved1, 1),
	CHECK("reserved field", uint8_t, reserved[0], 1),
	DIFFER("vendor", uint16_t, vendor, 0x1af4),
	DIFFER("device", uint16_t, device, 0x1041),
	DIFFER("class", uint32_t, class, 0x010802),
	DIFFER("revision", uint8_t, revision, 0x77),
	DIFFER("subsystem vendor", uint16_t, subsystem_vendor, 0x1028),
	DIFFER("subsystem device", uint16_t, subsystem_device, 0x0815),
	{
		.name = "serial number",
		.how = DIFFERS,
		.offset = offsetof(struct pci_dev_ser, serial),
		.size = 8,
		.value = 0x1234,
		.offset2 = offsetof(struct pci_dev_ser, flags),
		.size2 = 4,
		.value2 = PCI_SER_F_FROZEN | PCI_SER_F_SERIAL,
	},
	DIFFER("bus master", uint16_t, command, PCI_COMMAND_MEMORY),
	DIFFER("decoding", uint16_t, command, PCI_COMMAND_MASTER),
	DIFFER("BAR 0", uint32_t, bar[0], 0x12300000),
	DIFFER("BAR 1", uint32_t, bar[1], 0x10),
	DIFFER("BAR 2", uint32_t, bar[2], 0x10),
	DIFFER("BAR 3", uint32_t, bar[3], 0x10),
	DIFFER("BAR 4", uint32_t, bar[4], 0x10),
	DIFFER("BAR 5", uint32_t, bar[5], 0x10),
	DIFFER("expansion ROM", uint32_t, bar[6], 0xfff00001),
	DIFFER("VF BAR 0", uint32_t, vf_bar[0], 4),
	DIFFER("VF BAR 1", uint32_t, vf_bar[1], 4),
	DIFFER("VF BAR 2", uint32_t, vf_bar[2], 4),
	DIFFER("VF BAR 3", uint32_t, vf_bar[3], 4),
	DIFFER("VF BAR 4", uint32_t, vf_bar[4], 4),
	DIFFER("VF BAR 5", uint32_t, vf_bar[5], 4),
	DIFFER("device control", uint16_t, devctl, 0x2810),
	DIFFER("device control 2", uint16_t, devctl2, 0x0009),
	DIFFER("link control", uint16_t, lnkctl, 0x0040),
	DIFFER("ACS control", uint16_t, acs_ctrl, 0x001d),
	DAMAGE("bdf", GONE, uint16_t, bdf, 0xeff8),
	DAMAGE("domain", GONE, uint32_t, domain, 0x77),
	DAMAGE("bdf", TWICE, uint16_t, bdf, 0),
	{ .name = "kind", .how = VICTIM },
};

static const struct damage bridge_damages[] = {
	CHECK("header type", uint8_t, hdr_type, PCI_HEADER_TYPE_NORMAL),
	CHECK("groups", uint32_t, groups, PCI_SER_GROUPS & ~PCI_SER_GROUP_BRIDGE),
	CHECK("reference count", uint32_t, refcount, 0),
	CHECK("bus numbers", uint32_t, buses, 0),
	CHECK("windows", uint8_t, windows, 0x80),
	CHECK("windows", uint8_t, windows, PCI_SER_WINDOW_PREF64),
	CHECK("reserved field", uint8_t, reserved[543], 1),
	DIFFER("vendor", uint16_t, vendor, 0x8086),
	DIFFER("device", uint16_t, device, 0x3420),
	DIFFER("bus master", uint16_t, command, PCI_COMMAND_MEMORY | PCI_COMMAND_IO),
	DIFFER("decoding", uint16_t, command, PCI_COMMAND_MASTER),
	DIFFER("BAR 0", uint32_t, bar[0], 0x12340000),
	DIFFER("bus numbers", uint32_t, buses, 0xf1f000),
	DIFFER("I/O window", uint16_t, io, 0x7172),
	DIFFER("I/O window, upper half", uint32_t, io_hi, 0x12341234),
	DIFFER("memory window", uint32_t, mem, 0x12301230),
	DIFFER("prefetchable window", uint32_t, pref, 0x12311231),
	DIFFER("prefetchable base, upper half", uint32_t, pref_base_hi, 0x5555),
	DIFFER("prefetchable limit, upper half", uint32_t, pref_limit_hi, 0x5555),
	DIFFER("device control", uint16_t, devctl, 0x2813),
	DIFFER("device control 2", uint16_t, devctl2, 0x0009),
	DIFFER("link control", uint16_t, lnkctl, 0x0140),
	DIFFER("ACS control", uint16_t, acs_ctrl, 0x007f),
};

static struct lu_dev devs[COUNT];
static struct iommu *iommu;
static int luo, session, notes = -1;

static int last_stage(void)
{
	const char *last = vmt_param("last");

	return last ? atoi(last) : 2;
}

/* What the kernel before stage has done to a device or a port, NULL for nothing. */
static const struct damage *function_damage(int stage, unsigned int n)
{
	unsigned int i = (stage - 2) * FUNCTIONS + n;

	return i < ARRAY_SIZE(function_damages) ? &function_damages[i] : NULL;
}

static const struct damage *bridge_damage(int stage, unsigned int n)
{
	unsigned int i = (stage - 2) * BRIDGES + n;

	return i < ARRAY_SIZE(bridge_damages) ? &bridge_damages[i] : NULL;
}

static unsigned int bdf_number(const char *bdf)
{
	unsigned int domain, bus, slot, func;

	if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot, &func) != 4)
		vmt_die("%s: no BDF", bdf);
	return bus << 8 | slot << 3 | func;
}

static void do_damage(const char *bdf, const struct damage *damage, const char *next)
{
	lu_damage("record %s %u %u %llx", bdf, damage->offset, damage->size,
		  damage->how == TWICE ? bdf_number(next) : (unsigned long long)damage->value);
	if (damage->size2)
		lu_damage("record %s %u %u %llx", bdf, damage->offset2, damage->size2,
			  (unsigned long long)damage->value2);
}

/* Two devices have a place in the notes, which are new ones if there are none yet. */
static void map_notes(void)
{
	struct lu_dev good[] = { devs[ROOT], devs[BEHIND] };

	if (notes < 0)
		notes = lu_notes_create(good, ARRAY_SIZE(good));
	else
		lu_notes_map(notes, good, ARRAY_SIZE(good));
	devs[ROOT] = good[0];
	devs[BEHIND] = good[1];
	lu_dma_map(&devs[ROOT], iommu);
	lu_dma_map(&devs[BEHIND], iommu);
}

static void leave(struct __test_metadata *_metadata)
{
	int stage = vmt_stage();
	const struct damage *damage;
	unsigned int i;

	session = luo_create_session(luo, "lost");
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, notes, LU_NOTES_TOKEN));

	for (i = 0; i < COUNT; i++)
		if (!devs[i].vfio)
			lu_open(&devs[i], iommu);
	for (i = 0; i < COUNT; i++) {
		struct lu_dev *dev = &devs[i];

		lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		if (dev->saved)
			ASSERT_TRUE(lu_program(dev, stage, VFIO_PCI_MSI_IRQ_INDEX));
		ASSERT_EQ(0, lu_preserve(session, dev->vfio->fd, dev->token)) {
			TH_LOG("%s: preserve", dev->name);
		}
		EXPECT_TRUE(lu_bus_master(dev->bdf));
		if (dev->saved)
			lu_note_down(dev);
	}
	vmt_mark(VMT_PRESERVED);

	for (i = 0; i < FUNCTIONS; i++) {
		damage = function_damage(stage + 1, i);
		if (damage && damage->how != VICTIM)
			do_damage(devs[FUNCTION(i)].bdf, damage,
				  i + 1 < FUNCTIONS ? devs[FUNCTION(i + 1)].bdf : NULL);
	}
	for (i = 0; i < BRIDGES; i++) {
		damage = bridge_damage(stage + 1, i);
		if (damage)
			do_damage(devs[BELOW(i)].port, damage, NULL);
	}
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_kexec_load();
	ASSERT_EQ(0, vmt_kexec());
}

#define TAKEN_OVER	"live update: translation taken over"

/* Is there a line of the log with both? */
static bool logged(const char *device, const char *text)
{
	static char *log;
	char *line, *next, want[256];
	int size, len;

	if (!log) {
		size = klogctl(10 /* size of the buffer */, NULL, 0);
		log = calloc(1, size + 1);
		len = klogctl(3 /* read all */, log, size);
		if (len < 0)
			vmt_die("cannot read the log");
		log[len] = 0;
	}
	snprintf(want, sizeof(want), "%s: %s", device, text);
	for (line = log; *line; line = next) {
		char *found = strstr(line, want);

		next = strchrnul(line, '\n');
		if (found && found < next)
			return true;
		next += !!*next;
	}
	return false;
}

static void check_lost(struct __test_metadata *_metadata, const char *bdf)
{
	char driver[64];

	EXPECT_STREQ("lost", lu_state(bdf)) {
		TH_LOG("%s: state", bdf);
	}
	EXPECT_FALSE(lu_bus_master(bdf)) {
		TH_LOG("%s: bus master", bdf);
	}
	EXPECT_STREQ("", vmt_driver(bdf, driver, sizeof(driver))) {
		TH_LOG("%s: driver", bdf);
	}
}

static void check_damaged(struct __test_metadata *_metadata, const char *bdf,
			  const struct damage *damage)
{
	char text[128], where[32];

	/* What it could reach it cannot reach any more. */
	EXPECT_FALSE(logged(bdf, TAKEN_OVER)) {
		TH_LOG("%s: its translation was taken over", bdf);
	}
	switch (damage->how) {
	case CHECKED:
	case VICTIM:
		snprintf(text, sizeof(text), "live update: lost, its record is damaged: %s\n",
			 damage->name);
		break;
	case DIFFERS:
		/* Of COMMAND the bits are compared, and the damage leaves those out. */
		snprintf(text, sizeof(text), "live update: lost, %s was 0x%llx, is ",
			 damage->name, damage->offset == offsetof(struct pci_dev_ser, command) ?
			 0 : (unsigned long long)damage->value);
		break;
	case GONE:
		snprintf(where, sizeof(where), "%04x:%s", damage->size == 4 ?
			 (unsigned int)damage->value : 0, damage->size == 4 ? bdf + 5 : "ef:1f.0");
		EXPECT_TRUE(logged(where, "lost, nothing answers there")) {
			TH_LOG("%s: no line for the place where its record points", bdf);
		}
		break;
	case TWICE:
		/* The line about the record is the victim's. */
		break;
	}
	if (damage->how == GONE || damage->how == TWICE) {
		/* An ordinary device, but not one that does as it likes. */
		EXPECT_FALSE(lu_bus_master(bdf)) {
			TH_LOG("%s: bus master of a device without its record", bdf);
		}
		EXPECT_TRUE(logged(bdf, "live update: bus master was on, but it is not recorded")) {
			TH_LOG("%s: no line about its bus master", bdf);
		}
		return;
	}
	EXPECT_TRUE(logged(bdf, text)) {
		TH_LOG("%s: no line \"%s\"", bdf, text);
	}
	check_lost(_metadata, bdf);
}

static int expected_error(const struct damage *damage)
{
	/* Nothing was recorded where the file says the device is. */
	return damage->how == GONE || damage->how == TWICE ? -EINVAL : -EIO;
}

static void take(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	char driver[64];

	EXPECT_STREQ("incoming", lu_state(dev->bdf));
	EXPECT_TRUE(lu_bus_master(dev->bdf));
	EXPECT_TRUE(logged(dev->bdf, TAKEN_OVER)) {
		TH_LOG("%s: its translation was not taken over", dev->name);
	}
	EXPECT_STREQ("vfio-pci", vmt_driver(dev->bdf, driver, sizeof(driver)));
	ASSERT_EQ(0, lu_take(dev, session, iommu));
	EXPECT_EQ(0, lu_config_changed(dev));
	EXPECT_EQ(0, lu_regs_changed(dev));
	lu_irq_enable(dev, dev->saved->irq_index);
	EXPECT_TRUE(lu_irq_test(dev));
	EXPECT_TRUE(dev->ops->dma(dev, vmt_stage()));
}

static void arrive(struct __test_metadata *_metadata)
{
	int stage = vmt_stage();
	unsigned int i;

	session = luo_retrieve_session(luo, "lost");
	ASSERT_LE(0, session);
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	map_notes();

	for (i = 0; i < FUNCTIONS; i++) {
		const struct damage *damage = function_damage(stage, i);
		struct lu_dev *dev = &devs[FUNCTION(i)];

		if (!damage) {
			EXPECT_EQ(0, lu_take(dev, session, iommu));
			continue;
		}
		check_damaged(_metadata, dev->bdf, damage);
		EXPECT_EQ(expected_error(damage), lu_retrieve(session, dev->token)) {
			TH_LOG("%s: retrieve, %s damaged", dev->name, damage->name);
		}
	}
	for (i = 0; i < BRIDGES; i++) {
		const struct damage *damage = bridge_damage(stage, i);
		struct lu_dev *dev = &devs[BELOW(i)];
		char text[128];

		if (!damage) {
			EXPECT_EQ(0, lu_take(dev, session, iommu));
			continue;
		}
		check_damaged(_metadata, dev->port, damage);
		snprintf(text, sizeof(text), "live update: lost, %s above it is not what it was",
			 dev->port);
		EXPECT_TRUE(logged(dev->bdf, text)) {
			TH_LOG("%s: no line \"%s\"", dev->name, text);
		}
		EXPECT_FALSE(logged(dev->bdf, TAKEN_OVER)) {
			TH_LOG("%s: its translation was taken over", dev->name);
		}
		check_lost(_metadata, dev->bdf);
		EXPECT_EQ(-EIO, lu_retrieve(session, dev->token)) {
			TH_LOG("%s: retrieve, %s of its port damaged", dev->name, damage->name);
		}
	}
	vmt_step("damaged records found out");

	/* The two that nothing happened to hold it up, not the lost ones. */
	EXPECT_EQ(-EBUSY, luo_session_finish(session));
	take(_metadata, &devs[ROOT]);
	take(_metadata, &devs[BEHIND]);
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);
	EXPECT_STREQ("none", lu_state(devs[ROOT].bdf));
	EXPECT_STREQ("none", lu_state(devs[BEHIND].bdf));
	EXPECT_TRUE(lu_irq_test(&devs[ROOT]));
	EXPECT_TRUE(lu_irq_test(&devs[BEHIND]));
	vmt_step("the other devices work");

	/* Nobody binds a lost device by itself, finished or not. */
	for (i = 0; i < FUNCTIONS; i++) {
		const struct damage *damage = function_damage(stage, i);

		if (damage && expected_error(damage) == -EIO)
			check_lost(_metadata, devs[FUNCTION(i)].bdf);
	}
	for (i = 0; i < BRIDGES; i++)
		if (bridge_damage(stage, i))
			check_lost(_metadata, devs[BELOW(i)].port);
}

FIXTURE(lost) {
};

FIXTURE_SETUP(lost)
{
	unsigned int i;

	luo = luo_open_device();
	ASSERT_LE(0, luo);
	iommu = iommu_init(MODE_IOMMUFD);
	for (i = 0; i < COUNT; i++) {
		lu_find_one(&devs[i], 0x1234, 0x11e8, i);
		devs[i].token += i;
		devs[i].nr = i;
		ASSERT_EQ(i >= BEHIND, !!*devs[i].port);
	}
	/* The normal kernel goes through all of them. */
	if (strcmp(vmt_param("flavour"), "debug")) {
		ASSERT_LE(ARRAY_SIZE(function_damages), FUNCTIONS * (last_stage() - 1));
		ASSERT_LE(ARRAY_SIZE(bridge_damages), BRIDGES * (last_stage() - 1));
	}
}

FIXTURE_TEARDOWN(lost)
{
}

TEST_F(lost, first)
{
	map_notes();
	leave(_metadata);
}

TEST_F(lost, next)
{
	arrive(_metadata);
	lu_irq_disable(&devs[ROOT]);
	lu_irq_disable(&devs[BEHIND]);
	leave(_metadata);
}

TEST_F(lost, last)
{
	unsigned int i;

	arrive(_metadata);
	/* An administrator's word makes them ordinary devices. */
	for (i = 0; i < COUNT; i++) {
		if (!devs[i].vfio)
			lu_open(&devs[i], iommu);
		lu_close(&devs[i]);
		EXPECT_FALSE(lu_bus_master(devs[i].bdf));
	}
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "lost", "-t", "next", NULL };

	if (vmt_stage() == 1)
		argv[2] = "first";
	else if (vmt_stage() == last_stage())
		argv[2] = "last";
	return test_harness_run(3, argv);
}
