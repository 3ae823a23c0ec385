// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the reader of the next kernel's command line
 *
 * Each line is what one kernel is given, on top of what the test's machine needs,
 * and what is wrong with it, if anything.
 */

#include <kunit/test.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate_gate.h"

#define GOOD	-1
#define KHO	LIVEUPDATE_GATE_KHO
#define LU	LIVEUPDATE_GATE_LIVEUPDATE
#define ACPI	LIVEUPDATE_GATE_ACPI
#define PCI	LIVEUPDATE_GATE_PCI
#define APIC	LIVEUPDATE_GATE_APIC
#define IOMMU	LIVEUPDATE_GATE_IOMMU
#define DMAR	LIVEUPDATE_GATE_DMAR
#define SM	LIVEUPDATE_GATE_SCALABLE
#define IR	LIVEUPDATE_GATE_INTREMAP

struct gate_case {
	const char *cmdline;
	int wrong;
	/* "param=val" that is to blame, NULL: it is the default. */
	const char *blame;
};

/* A kernel that has everything off by default, and a machine in legacy mode. */
#define ALL	"kho=on liveupdate=on intel_iommu=on "

static const struct gate_case gate_cases[] = {
	{ ALL, GOOD },
	{ "", KHO },
	{ "liveupdate=on intel_iommu=on", KHO },
	{ "kho=on intel_iommu=on", LU },
	{ "kho=on liveupdate=on", DMAR },

	/* The last one that is a bool wins. */
	{ ALL "kho=off", KHO, "kho=off" },
	{ ALL "kho=0", KHO, "kho=0" },
	{ ALL "kho=n", KHO, "kho=n" },
	{ ALL "kho=false", KHO, "kho=false" },
	{ ALL "kho=off kho=1", GOOD },
	{ "kho=off " ALL, GOOD },
	{ ALL "kho=maybe", GOOD },
	{ ALL "kho", GOOD },
	{ ALL "kho=", GOOD },
	{ ALL "kho=off kho", KHO, "kho=off" },
	{ ALL "liveupdate=off", LU, "liveupdate=off" },
	{ ALL "liveupdate=0", LU, "liveupdate=0" },
	{ ALL "liveupdate=0 liveupdate=y", GOOD },

	/* Quotes, and what is not for the kernel. */
	{ ALL "\"liveupdate=off\"", LU, "liveupdate=off" },
	{ ALL "liveupdate=\"off\"", LU, "liveupdate=off" },
	{ ALL "foo=\"liveupdate=off intel_iommu=off\"", GOOD },
	{ ALL "-- liveupdate=off intel_iommu=off nointremap", GOOD },
	{ ALL "foo -- iommu=off", GOOD },
	{ "-- " ALL, KHO },
	{ ALL "--foo kho=off", KHO, "kho=off" },
	{ ALL "xkho=off khox=off mod.kho=off kho.x=off", GOOD },
	{ "  " ALL "  kho=off  ", KHO, "kho=off" },

	/* Dashes and underscores are the same in names, and only there. */
	{ "kho=on liveupdate=on intel-iommu=on", GOOD },
	{ ALL "intel-iommu=off", DMAR, "intel-iommu=off" },
	{ ALL "intel-iommu=sm-on", GOOD },

	/* Off is for good. */
	{ ALL "iommu=off", IOMMU, "iommu=off" },
	{ ALL "iommu=pt,off", IOMMU, "iommu=pt,off" },
	{ ALL "iommu=off iommu=force", IOMMU, "iommu=off" },
	{ ALL "iommu=offset", IOMMU, "iommu=offset" },
	{ ALL "iommu=pt,,off", IOMMU, "iommu=pt,,off" },
	{ ALL "iommu=usedac,off", GOOD },
	{ ALL "iommu=pt,soft,nooff", GOOD },
	{ ALL "iommu=", GOOD },
	{ ALL "iommu", GOOD },
	{ ALL "iommu.passthrough=1 iommu.strict=0", GOOD },

	/* The last one counts, wherever it is. */
	{ ALL "intel_iommu=off", DMAR, "intel_iommu=off" },
	{ ALL "intel_iommu=on,off", DMAR, "intel_iommu=on,off" },
	{ ALL "intel_iommu=off,on", GOOD },
	{ ALL "intel_iommu=off intel_iommu=sm_off", DMAR, "intel_iommu=off" },
	{ ALL "intel_iommu=off,sm_off intel_iommu=strict,on", GOOD },
	{ ALL "intel_iommu=igfx_off,intgpu_off,sp_off", GOOD },
	{ ALL "intel_iommu", GOOD },
	{ ALL "intel_iommu=,,,off", DMAR, "intel_iommu=,,,off" },
	{ ALL "intel_iommu=sm_on", SM, "intel_iommu=sm_on" },
	{ ALL "intel_iommu=sm_on,sm_off", GOOD },
	{ ALL "intel_iommu=sm_on intel_iommu=on", SM, "intel_iommu=sm_on" },
	{ ALL "intel_iommu=sm_on intel_iommu=sm_off", GOOD },

	{ ALL "intremap=off", IR, "intremap=off" },
	{ ALL "intremap=nosid,off", IR, "intremap=nosid,off" },
	{ ALL "nointremap", IR, "nointremap" },
	{ ALL "nointremap=0", IR, "nointremap=0" },
	{ ALL "nointremap intremap=on", GOOD },
	{ ALL "intremap=on nointremap", IR, "nointremap" },
	{ ALL "intremap=off,on", GOOD },
	{ ALL "intremap=nopost,no_x2apic_optout nox2apic", GOOD },
	{ ALL "noapic", APIC, "noapic" },
	{ ALL "nolapic", APIC, "nolapic" },
	{ ALL "nosmp", APIC, "nosmp" },
	{ ALL "maxcpus=0", APIC, "maxcpus=0" },
	{ ALL "maxcpus=0x0", APIC, "maxcpus=0x0" },
	{ ALL "maxcpus=x", APIC, "maxcpus=x" },
	{ ALL "maxcpus=1 maxcpus maxcpus=", GOOD },
	{ ALL "maxcpus=0 maxcpus=4", APIC, "maxcpus=0" },

	{ ALL "acpi=off", ACPI, "acpi=off" },
	{ ALL "acpi=off acpi=force", GOOD },
	{ ALL "acpi=force acpi=off", ACPI, "acpi=off" },
	{ ALL "acpi=off,force acpi", GOOD },
	{ ALL "pci=off", PCI, "pci=off" },
	{ ALL "pci=realloc,off", PCI, "pci=realloc,off" },
	{ ALL "pci=off,realloc", PCI, "pci=off,realloc" },
	{ ALL "pci=offset,nooff,, pci= pci", GOOD },
};

static void gate_case_desc(const struct gate_case *c, char *desc)
{
	/* The names of the cases are in TAP, where # starts a directive. */
	strscpy(desc, *c->cmdline ? c->cmdline : "nothing", KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(gate, gate_cases, gate_case_desc);

static int gate_run(struct kunit *test, struct liveupdate_gate_boot *boot,
		    const char *text, const struct liveupdate_gate_need *need)
{
	char *cmdline = kunit_kstrdup(test, text, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, cmdline);
	liveupdate_gate_parse(boot, cmdline);
	return liveupdate_gate_wrong(boot, need);
}

static void gate_all_off(struct liveupdate_gate_boot *boot)
{
	*boot = (struct liveupdate_gate_boot){
		.on = { [ACPI] = true, [PCI] = true, [APIC] = true, [IOMMU] = true,
			[IR] = true },
	};
}

static void gate_cmdline(struct kunit *test)
{
	static const struct liveupdate_gate_need need = {
		.either = true, .intremap = true,
	};
	const struct gate_case *c = test->param_value;
	struct liveupdate_gate_boot boot;
	char said[64];
	int wrong;

	gate_all_off(&boot);
	wrong = gate_run(test, &boot, c->cmdline, &need);
	KUNIT_ASSERT_EQ(test, wrong, c->wrong);
	if (wrong < 0)
		return;
	if (!c->blame) {
		KUNIT_EXPECT_NULL(test, boot.param[wrong]);
		return;
	}
	KUNIT_ASSERT_NOT_NULL(test, boot.param[wrong]);
	snprintf(said, sizeof(said), "%s%s%s", boot.param[wrong],
		 boot.val[wrong] ? "=" : "", boot.val[wrong] ?: "");
	KUNIT_EXPECT_STREQ(test, said, c->blame);
}

/* The same line on machines in another state. */
static void gate_need(struct kunit *test)
{
	static const struct {
		const char *cmdline;
		struct liveupdate_gate_need need;
		int wrong;
	} cases[] = {
		{ ALL "intel_iommu=sm_on", { .scalable = true, .either = true }, GOOD },
		{ ALL, { .scalable = true, .either = true }, SM },
		{ ALL "intel_iommu=sm_off", { .scalable = true, .either = true }, SM },
		/* The hardware has legacy mode only. */
		{ ALL "intel_iommu=sm_on", {}, GOOD },
		{ ALL "nointremap noapic", {}, GOOD },
		{ ALL "nointremap", { .intremap = true }, IR },
		{ ALL "noapic", { .intremap = true }, APIC },
	};
	struct liveupdate_gate_boot boot;

	for (int i = 0; i < ARRAY_SIZE(cases); i++) {
		gate_all_off(&boot);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].wrong,
				    gate_run(test, &boot, cases[i].cmdline,
					     &cases[i].need),
				    "%d: %s", i, cases[i].cmdline);
	}
}

/* What is built in comes first, and the command line has the last word. */
static void gate_builtin(struct kunit *test)
{
	static const struct liveupdate_gate_need need = { .either = true };
	struct liveupdate_gate_boot boot;

	gate_all_off(&boot);
	KUNIT_EXPECT_EQ(test, SM, gate_run(test, &boot, ALL "intel_iommu=sm_on", &need));
	KUNIT_EXPECT_EQ(test, GOOD, gate_run(test, &boot, "intel_iommu=sm_off", &need));
	KUNIT_EXPECT_EQ(test, LU, gate_run(test, &boot, "liveupdate=off", &need));
}

static struct kunit_case liveupdate_gate_cases[] = {
	KUNIT_CASE_PARAM(gate_cmdline, gate_gen_params),
	KUNIT_CASE(gate_need),
	KUNIT_CASE(gate_builtin),
	{}
};

static struct kunit_suite liveupdate_gate_suite = {
	.name = "iommu-liveupdate-gate",
	.test_cases = liveupdate_gate_cases,
};

kunit_test_suite(liveupdate_gate_suite);
