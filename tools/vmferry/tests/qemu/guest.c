// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that needs no devices: it fills memory with numbers, looks at them again and
 * again, and counts, where the host can see it. Loaded by multiboot.
 *
 * If it has a network card, an 82574L, it receives the frames that the VM test bench sends
 * (see stream.c there), by polling, and looks whether they are all there. The ring has room
 * for as many as come while the guest is on its way into the next kernel.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MULTIBOOT 0x1badb002u

__attribute__((section(".multiboot"), used))
static const uint32_t multiboot[] = { MULTIBOOT, 0, -MULTIBOOT };

/* In a page that the BIOS has done with. In step with vmferry_vm.sh and test-qemu. */
static volatile struct {
	uint32_t count, rounds, bad;
	uint32_t nic;			/* it is set up */
	uint32_t received, missing, damaged;	/* frames */
	uint32_t ended;			/* the last one has come */
} *const status = (void *)0x7e00;

/* Physical memory, of which there are 20 MiB: nobody else is here. */
#define RING	0x400000u
#define BUFFERS	0x500000u
#define MEMORY	0x1000000u
#define WORDS	0x100000u

/* ---- The network card ---------------------------------------------------------------- */

#define FRAMES	4096u
#define BUFFER	2048u

#define NIC_ID		0x10d38086u
#define NIC_STATUS	0x0008
#define NIC_MDIC	0x0020
#define NIC_RCTL	0x0100
#define NIC_RDBAL	0x2800
#define NIC_RDBAH	0x2804
#define NIC_RDLEN	0x2808
#define NIC_RDH		0x2810
#define NIC_RDT		0x2818
#define LINK_UP		0x2u
#define MDIC_AUTO	0x04201200u	/* to the PHY: negotiate anew */
#define RCTL_ON		0x0400801au	/* promiscuous, without the Ethernet CRC */
#define DESC_DONE	0x1u

#define FRAME_MAGIC	0x6d727473u
#define FRAME_LAST	0x1u

struct descriptor {
	uint64_t addr;
	uint16_t length, checksum;
	uint8_t status, errors;
	uint16_t special;
};

struct frame {
	uint8_t dest[6], source[6];
	uint16_t type, id;
	uint32_t magic, flags;
	uint32_t number, number_high;
	uint8_t body[];
} __attribute__((packed));

static volatile struct descriptor *const ring = (void *)RING;
static volatile uint8_t *nic;
static uint32_t next, expected, crc_table[256];

static void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static uint32_t config_read(uint32_t slot, uint32_t reg)
{
	outl(0xcf8, 0x80000000u | slot << 11 | reg);
	return inl(0xcfc);
}

static void config_write(uint32_t slot, uint32_t reg, uint32_t value)
{
	outl(0xcf8, 0x80000000u | slot << 11 | reg);
	outl(0xcfc, value);
}

static uint32_t nic_read(uint32_t reg)
{
	return *(volatile uint32_t *)(nic + reg);
}

static void nic_write(uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(nic + reg) = value;
}

static uint32_t crc32(const volatile uint8_t *data, uint32_t len)
{
	uint32_t crc = ~0u;

	while (len--)
		crc = crc >> 8 ^ crc_table[(uint8_t)(crc ^ *data++)];
	return ~crc;
}

static void give(uint32_t n)
{
	ring[n].status = 0;
	ring[n].length = 0;
	ring[n].addr = BUFFERS + n * BUFFER;
}

static void nic_setup(void)
{
	uint32_t slot = 0;

	while (slot < 32 && config_read(slot, 0) != NIC_ID)
		slot++;
	if (slot == 32)
		return;
	nic = (volatile uint8_t *)(uintptr_t)(config_read(slot, 0x10) & ~0xfu);
	/* Memory space and bus mastering. */
	config_write(slot, 0x04, (config_read(slot, 0x04) & 0xffff) | 0x6);
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t crc = n;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
		crc_table[n] = crc;
	}
	for (uint32_t n = 0; n < FRAMES; n++)
		give(n);
	if (!(nic_read(NIC_STATUS) & LINK_UP))
		nic_write(NIC_MDIC, MDIC_AUTO);
	while (!(nic_read(NIC_STATUS) & LINK_UP))
		;
	nic_write(NIC_RDBAL, RING);
	nic_write(NIC_RDBAH, 0);
	nic_write(NIC_RDLEN, FRAMES * sizeof(struct descriptor));
	nic_write(NIC_RDH, 0);
	nic_write(NIC_RDT, FRAMES - 1);
	nic_write(NIC_RCTL, RCTL_ON);
	status->nic = 1;
}

static void look_at(volatile struct frame *frame, uint32_t length)
{
	uint32_t crc = 0;

	if (length < sizeof(*frame) + sizeof(crc) || length > BUFFER ||
	    frame->magic != FRAME_MAGIC) {
		status->damaged++;
		return;
	}
	for (uint32_t n = 0; n < 4; n++)
		crc |= (uint32_t)((volatile uint8_t *)frame)[length - 4 + n] << 8 * n;
	if (crc != crc32((volatile uint8_t *)frame, length - 4) ||
	    (status->received && frame->number < expected)) {
		status->damaged++;
		return;
	}
	if (status->received)
		status->missing += frame->number - expected;
	expected = frame->number + 1;
	status->received++;
	if (frame->flags & FRAME_LAST)
		status->ended = 1;
	/* So that it is seen when the next one is not written here. */
	frame->magic = 0;
}

static void nic_poll(void)
{
	bool some = false;

	for (; ring[next].status & DESC_DONE; some = true) {
		look_at((void *)(uintptr_t)(BUFFERS + next * BUFFER), ring[next].length);
		give(next);
		next = (next + 1) % FRAMES;
	}
	if (some)
		nic_write(NIC_RDT, (next + FRAMES - 1) % FRAMES);
}

/* ---- Memory --------------------------------------------------------------------------- */

static uint32_t following(uint32_t number)
{
	return number * 1664525 + 1013904223;
}

__attribute__((noreturn, used)) void _start(void)
{
	volatile uint32_t *memory = (void *)MEMORY;
	uint32_t number = 1;

	__asm__ volatile("cli");
	for (size_t n = 0; n < sizeof(*status) / sizeof(uint32_t); n++)
		((volatile uint32_t *)status)[n] = 0;
	for (uint32_t n = 0; n < WORDS; n++)
		memory[n] = number = following(number);
	nic_setup();
	for (;;) {
		number = 1;
		for (uint32_t n = 0; n < WORDS; n++) {
			number = following(number);
			if (memory[n] != number)
				status->bad++;
			status->count++;
			if (nic && !(n & 0xff))
				nic_poll();
		}
		status->rounds++;
	}
}
