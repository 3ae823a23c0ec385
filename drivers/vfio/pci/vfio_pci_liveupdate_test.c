// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the record that one kernel's vfio-pci hands the next
 */

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/moduleparam.h>
#include <linux/pci_regs.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/string.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/vfio_pci_liveupdate.h>

#include "vfio_pci_priv.h"

static unsigned int seed;
module_param_named(kunit_seed, seed, uint, 0444);
MODULE_PARM_DESC(kunit_seed, "Seed of the random records, to see a failure again (default: another one each time)");

/* The reader does not look at what comes after the state. */
#define CHECKED_SIZE	offsetof(struct vfio_pci_ser, vconfig)

static struct vfio_pci_ser *new_record(struct kunit *test)
{
	struct vfio_pci_ser *ser = kunit_kzalloc(test, sizeof(*ser), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ser);
	return ser;
}

static void good(struct vfio_pci_ser *ser)
{
	memset(ser, 0, CHECKED_SIZE);
	ser->bdf = 0x0300;
	ser->irq_type = VFIO_PCI_MSIX_IRQ_INDEX;
	ser->msi_qmax = 3;
	ser->flags = VFIO_PCI_SER_F_FROZEN | VFIO_PCI_SER_F_STATE;
	ser->cfg_size = PCI_CFG_SPACE_EXP_SIZE;
	ser->nr_caps = 3;
	ser->caps[0] = (struct vfio_pci_cap_ser){ PCI_CAP_ID_PM, 0x40, 8 };
	ser->caps[1] = (struct vfio_pci_cap_ser){ PCI_CAP_ID_MSIX, 0x48, 12 };
	ser->caps[2] = (struct vfio_pci_cap_ser){ PCI_EXT_CAP_ID_ERR, 0xff0, 16 };
	ser->vectors[0] = 0x5;
	ser->vectors[31] = BIT_ULL(63);
	ser->nr_vectors = 3;
	ser->state.nr_regs = 1;
	ser->state.regs[0] = (struct pci_state_reg_ser){
		.cap = PCI_CAP_ID_EXP, .width = 2, .offset = PCI_EXP_DEVCTL,
	};
}

/* One field of a record that is otherwise good. */
struct damage {
	const char *name;	/* what must be reported */
	size_t offset;
	size_t size;
	u64 value;
};

#define DAMAGE(_name, _type, _field, _value) {				\
	.name = _name,							\
	.offset = offsetof(struct vfio_pci_ser, _field),		\
	.size = sizeof(_type),						\
	.value = _value,						\
}

static const struct damage damages[] = {
	DAMAGE("flags", u32, flags, BIT(31) | VFIO_PCI_SER_F_FROZEN),
	DAMAGE("flags", u32, flags, BIT(6) | VFIO_PCI_SER_F_FROZEN),
	DAMAGE("frozen flag", u32, flags, VFIO_PCI_SER_F_STATE),
	DAMAGE("frozen flag", u32, flags, 0),
	DAMAGE("interrupt type", u8, irq_type, VFIO_PCI_ERR_IRQ_INDEX),
	DAMAGE("interrupt type", u8, irq_type, 0xfe),
	DAMAGE("number of MSI vectors", u8, msi_qmax, 6),
	DAMAGE("size of config space", u16, cfg_size, 0),
	DAMAGE("size of config space", u16, cfg_size, 255),
	DAMAGE("size of config space", u16, cfg_size, 4097),
	DAMAGE("number of capabilities", u16, nr_caps, VFIO_PCI_SER_CAPS + 1),
	DAMAGE("number of capabilities", u16, nr_caps, 0xffff),
	DAMAGE("number of vectors", u16, nr_vectors, 0),
	DAMAGE("number of vectors", u16, nr_vectors, 4),
	DAMAGE("number of vectors", u64, vectors[17], 1),
	DAMAGE("reserved field", u16, reserved0, 1),
	DAMAGE("reserved field", u32, reserved[0], 1),
	DAMAGE("reserved field", u32, reserved[20], BIT(31)),
	/* More than there are: the rest is empty. */
	DAMAGE("capability", u16, nr_caps, 4),
	DAMAGE("capability", u16, nr_caps, VFIO_PCI_SER_CAPS),
	/* The last one lies beyond it. */
	DAMAGE("capability", u16, cfg_size, PCI_CFG_SPACE_SIZE),
	DAMAGE("capability", u16, caps[1].len, 0),
	DAMAGE("capability", u16, caps[1].reserved, 1),
	DAMAGE("capability", u16, caps[0].offset, 0x3c),
	DAMAGE("capability", u16, caps[1].offset, 0x44),
	DAMAGE("capability", u16, caps[0].len, 9),
	DAMAGE("capability", u16, caps[2].len, 17),
	DAMAGE("capability", u16, caps[2].len, 0xffff),
	DAMAGE("capability", u16, caps[2].offset, 0xffff),
	DAMAGE("number of registers", u32, state.nr_regs, PCI_STATE_SER_REGS + 1),
	DAMAGE("number of registers", u32, state.nr_regs, ~0u),
	DAMAGE("reserved field", u32, state.reserved, 1),
	DAMAGE("register", u8, state.regs[0].width, 1),
	DAMAGE("register", u8, state.regs[0].extended, 2),
	DAMAGE("register", u16, state.regs[0].reserved, 1),
	DAMAGE("register", u16, state.regs[0].offset, PCI_CFG_SPACE_EXP_SIZE),
};

static void do_damage(struct vfio_pci_ser *ser, const struct damage *damage)
{
	memcpy((void *)ser + damage->offset, &damage->value, damage->size);
}

static void record_good(struct kunit *test)
{
	struct vfio_pci_ser *ser = new_record(test);

	good(ser);
	KUNIT_EXPECT_NULL(test, vfio_pci_liveupdate_check_ser(ser));
	ser->irq_type = VFIO_PCI_SER_IRQ_NONE;
	memset(ser->vectors, 0, sizeof(ser->vectors));
	ser->nr_vectors = 0;
	ser->nr_caps = 2;
	ser->cfg_size = PCI_CFG_SPACE_SIZE;
	KUNIT_EXPECT_NULL(test, vfio_pci_liveupdate_check_ser(ser));
	/* Without the flag nobody reads the state. */
	ser->flags &= ~VFIO_PCI_SER_F_STATE;
	ser->state.nr_regs = ~0u;
	KUNIT_EXPECT_NULL(test, vfio_pci_liveupdate_check_ser(ser));
}

static void record_damaged(struct kunit *test)
{
	struct vfio_pci_ser *ser = new_record(test);

	for (int i = 0; i < ARRAY_SIZE(damages); i++) {
		good(ser);
		do_damage(ser, &damages[i]);
		KUNIT_EXPECT_STREQ_MSG(test, damages[i].name,
				       vfio_pci_liveupdate_check_ser(ser) ?: "",
				       "damage %d", i);
	}
}

/* ---- Random records --------------------------------------------------------- */

#define FUZZ_CASES	100000

static u32 below(struct rnd_state *rnd, u32 limit)
{
	return prandom_u32_state(rnd) % limit;
}

/* Values of fields that any kernel may write; the layout stays that of good(). */
static void random_good(struct rnd_state *rnd, struct vfio_pci_ser *ser)
{
	ser->domain = below(rnd, 3);
	ser->bdf = prandom_u32_state(rnd);
	ser->irq_type = below(rnd, 4);
	if (ser->irq_type > VFIO_PCI_MSIX_IRQ_INDEX)
		ser->irq_type = VFIO_PCI_SER_IRQ_NONE;
	ser->msi_qmax = below(rnd, 6);
	ser->flags |= below(rnd, VFIO_PCI_SER_FLAGS + 1);
	ser->msi_flags = prandom_u32_state(rnd);
	ser->msix_flags = prandom_u32_state(rnd);
	ser->msi_mask = prandom_u32_state(rnd);
	prandom_bytes_state(rnd, ser->vf_token, sizeof(ser->vf_token));
	ser->vectors[0] = prandom_u32_state(rnd);
	ser->nr_vectors = hweight64(ser->vectors[0]) + 1;
}

/* What the rest of the driver takes for granted of a record that was accepted. */
static const char *broken_promise(const struct vfio_pci_ser *ser)
{
	unsigned int vectors = 0, end = PCI_STD_HEADER_SIZEOF;

	if (!(ser->flags & VFIO_PCI_SER_F_FROZEN) || ser->flags >> 6)
		return "flags";
	if (ser->cfg_size != 256 && ser->cfg_size != 4096)
		return "config space that is not in the record";
	if (ser->nr_caps > ARRAY_SIZE(ser->caps))
		return "capabilities that are not in the record";
	for (int i = 0; i < ser->nr_caps; i++) {
		if (ser->caps[i].offset < end)
			return "capabilities overlap";
		end = ser->caps[i].offset + ser->caps[i].len;
		if (end > ser->cfg_size)
			return "capability beyond config space";
	}
	for (int i = 0; i < ARRAY_SIZE(ser->vectors); i++)
		vectors += hweight64(ser->vectors[i]);
	if (vectors != ser->nr_vectors)
		return "vectors";
	if (ser->flags & VFIO_PCI_SER_F_STATE &&
	    ser->state.nr_regs > ARRAY_SIZE(ser->state.regs))
		return "registers that are not in the record";
	return NULL;
}

static void record_fuzz(struct kunit *test)
{
	struct vfio_pci_ser *ser = new_record(test);
	unsigned int accepted = 0, refused = 0;
	u32 used = seed ?: get_random_u32();
	struct rnd_state rnd;

	kunit_info(test, "seed %u, again with vfio_pci_core.kunit_seed=%u\n",
		   used, used);
	prandom_seed_state(&rnd, used);

	for (unsigned int nr = 0; nr < FUZZ_CASES; nr++) {
		const struct damage *damage;
		const char *bad;
		size_t pos, len;

		good(ser);
		random_good(&rnd, ser);
		switch (nr % 4) {
		case 0:
			KUNIT_ASSERT_STREQ_MSG(test, "", vfio_pci_liveupdate_check_ser(ser) ?: "",
					       "case %u", nr);
			break;
		case 1:
			/* Named, whatever else it holds. */
			damage = &damages[below(&rnd, ARRAY_SIZE(damages))];
			ser->flags |= VFIO_PCI_SER_F_STATE;
			do_damage(ser, damage);
			/* The right number of vectors is a random one here. */
			if (damage->offset == offsetof(struct vfio_pci_ser, nr_vectors))
				ser->nr_vectors = hweight64(ser->vectors[0]) + 2;
			KUNIT_ASSERT_STREQ_MSG(test, damage->name,
					       vfio_pci_liveupdate_check_ser(ser) ?: "",
					       "case %u", nr);
			break;
		case 2:
			/* Cut off. */
			pos = below(&rnd, CHECKED_SIZE + 1);
			memset((void *)ser + pos, 0, CHECKED_SIZE - pos);
			bad = vfio_pci_liveupdate_check_ser(ser);
			if (pos <= offsetof(struct vfio_pci_ser, cfg_size))
				KUNIT_ASSERT_NOT_NULL_MSG(test, bad, "case %u", nr);
			break;
		case 3:
			/* Any bytes; rarely all of them, which has no chance. */
			len = below(&rnd, 16) ? 1 + below(&rnd, 8) : CHECKED_SIZE;
			pos = below(&rnd, CHECKED_SIZE - len + 1);
			prandom_bytes_state(&rnd, (void *)ser + pos, len);
			break;
		}

		bad = vfio_pci_liveupdate_check_ser(ser);
		if (bad) {
			refused++;
			continue;
		}
		accepted++;
		KUNIT_ASSERT_STREQ_MSG(test, "", broken_promise(ser) ?: "", "case %u", nr);
	}

	/* Both have been tried. */
	KUNIT_EXPECT_GT(test, accepted, FUZZ_CASES / 10);
	KUNIT_EXPECT_GT(test, refused, FUZZ_CASES / 10);
}

static struct kunit_case vfio_pci_liveupdate_cases[] = {
	KUNIT_CASE(record_good),
	KUNIT_CASE(record_damaged),
	KUNIT_CASE(record_fuzz),
	{}
};

static struct kunit_suite vfio_pci_liveupdate_suite = {
	.name = "vfio_pci_liveupdate",
	.test_cases = vfio_pci_liveupdate_cases,
};

kunit_test_suite(vfio_pci_liveupdate_suite);
