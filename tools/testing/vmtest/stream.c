// SPDX-License-Identifier: GPL-2.0-only
/*
 * stream: numbered frames that a network card writes into memory which is handed
 * over. See stream.h.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "stream.h"

/* ---- The card: 82574L or 82576 ------------------------------------------------ */

#define NIC_STATUS	0x0008
#define  NIC_STATUS_LU	0x00000002	/* link up */
#define NIC_MDIC	0x0020
#define  NIC_MDIC_AUTO	0x04201200	/* to the PHY's control register: negotiate anew */
#define E1000E_RFCTL	0x5008
#define  E1000E_EXSTEN	0x00008000	/* descriptors like those of the 82576 */
#define IGB_SRRCTL	0xc00c
#define  IGB_ADVANCED	0x02000002	/* one buffer of 2 KiB for each frame */
#define IGB_RXDCTL	0xc028
#define  IGB_RXDCTL_EN	0x02000000

/* Queue 0, from its base register. */
#define E1000E_RX	0x2800
#define IGB_RX		0xc000
#define RX_BASE_LO	0x00
#define RX_BASE_HI	0x04
#define RX_SIZE		0x08
#define RX_HEAD		0x10
#define RX_TAIL		0x18

#define IGB_DEVICE	0x10c9

/* Enabled, promiscuous for unicast and multicast, broadcast, without the Ethernet CRC. */
static_assert(NIC_RCTL_ON == (0x2 | 0x8 | 0x10 | 0x8000 | 0x4000000));

#define LINK_TIMEOUT_US	10000000

static bool is_igb(const struct lu_dev *dev)
{
	return dev->ops->device == IGB_DEVICE;
}

static void rx_write(struct lu_dev *dev, unsigned int reg, uint32_t val)
{
	lu_write32(dev, (is_igb(dev) ? IGB_RX : E1000E_RX) + reg, val);
}

static volatile union stream_desc *ring(struct stream *s)
{
	return (void *)(s->base + STREAM_RING_OFF);
}

static void give(struct stream *s, unsigned int i)
{
	ring(s)[i].read.zero = 0;
	ring(s)[i].read.addr = s->iova + STREAM_BUF_OFF + i * STREAM_BUF;
}

/* All but one are the card's: head and tail meet when there is none. */
static void write_tail(struct stream *s)
{
	__sync_synchronize();
	rx_write(s->dev, RX_TAIL, (s->state->next + STREAM_FRAMES - 1) % STREAM_FRAMES);
}

void stream_stop(struct stream *s)
{
	lu_write32(s->dev, NIC_RCTL, 0);
}

static void link_up(struct lu_dev *dev)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t give_up = lu_now_us() + LINK_TIMEOUT_US;

	if (!(lu_read32(dev, NIC_STATUS) & NIC_STATUS_LU))
		lu_write32(dev, NIC_MDIC, NIC_MDIC_AUTO);
	while (!(lu_read32(dev, NIC_STATUS) & NIC_STATUS_LU)) {
		if (lu_now_us() > give_up)
			vmt_die("%s: no link", dev->name);
		nanosleep(&ms, NULL);
	}
}

void stream_ring(struct lu_dev *dev, uint64_t iova, unsigned int entries)
{
	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	lu_write32(dev, NIC_RCTL, 0);
	link_up(dev);
	rx_write(dev, RX_BASE_LO, (uint32_t)iova);
	rx_write(dev, RX_BASE_HI, iova >> 32);
	rx_write(dev, RX_SIZE, entries * sizeof(union stream_desc));
	if (is_igb(dev)) {
		lu_write32(dev, IGB_SRRCTL, IGB_ADVANCED);
		lu_write32(dev, IGB_RXDCTL, IGB_RXDCTL_EN);
	} else {
		lu_write32(dev, E1000E_RFCTL, E1000E_EXSTEN);
	}
	rx_write(dev, RX_HEAD, 0);
	rx_write(dev, RX_TAIL, entries - 1);
}

void stream_setup(struct stream *s, struct lu_dev *dev)
{
	unsigned int i;

	s->dev = dev;
	lu_set_command(dev, PCI_COMMAND_MEMORY);
	stream_stop(s);
	memset(s->base, 0, STREAM_SIZE);
	for (i = 0; i < STREAM_FRAMES; i++)
		give(s, i);
	stream_ring(dev, s->iova + STREAM_RING_OFF, STREAM_FRAMES);
	lu_write32(dev, NIC_RCTL, NIC_RCTL_ON);
}

void stream_resume(struct stream *s, struct lu_dev *dev)
{
	s->dev = dev;
	write_tail(s);
}

/* ---- Memory ------------------------------------------------------------------- */

int stream_memfd(unsigned int count, size_t more)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)count * STREAM_SIZE + more))
		vmt_die("memfd");
	return fd;
}

void stream_init(struct stream *s, unsigned int id, int memfd)
{
	s->id = id;
	s->dev = NULL;
	s->iova = STREAM_IOVA(id);
	s->base = mmap(NULL, STREAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd,
		       (off_t)id * STREAM_SIZE);
	if (s->base == MAP_FAILED)
		vmt_die("cannot map the memory of stream %u", id);
	s->state = (void *)s->base;
}

int stream_map(struct stream *s, int memfd, struct iommu *iommu)
{
	return lu_map_file(iommu, memfd, (uint64_t)s->id * STREAM_SIZE, STREAM_SIZE, s->iova);
}

/* ---- Frames ------------------------------------------------------------------- */

/* As in scripts/vmtest. The CRC-32 of all before it is in the last four bytes. */
struct stream_frame {
	uint8_t dest[6], source[6];
	uint16_t type;
	uint16_t id;
	uint32_t magic;
	uint32_t flags;
	uint64_t number;
	uint8_t body[];
} __packed;

#define FRAME_MAGIC	0x6d727473
#define FRAME_LAST	0x1
#define FRAME_MIN	(sizeof(struct stream_frame) + sizeof(uint32_t))

static uint32_t crc32(const uint8_t *data, size_t len)
{
	static uint32_t table[256];
	uint32_t crc = ~0u;
	unsigned int i, bit;

	if (!table[1]) {
		for (i = 0; i < 256; i++) {
			for (crc = i, bit = 0; bit < 8; bit++)
				crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
			table[i] = crc;
		}
		crc = ~0u;
	}
	while (len--)
		crc = crc >> 8 ^ table[(uint8_t)(crc ^ *data++)];
	return ~crc;
}

static const char *check_frame(struct stream *s, const struct stream_frame *frame,
			       unsigned int length)
{
	uint32_t crc;

	if (length < FRAME_MIN || length > STREAM_BUF)
		return "of a wrong length";
	if (frame->magic != FRAME_MAGIC)
		return "not written";
	memcpy(&crc, (const char *)frame + length - sizeof(crc), sizeof(crc));
	if (crc != crc32((const uint8_t *)frame, length - sizeof(crc)))
		return "damaged";
	if (frame->id != s->id)
		return "of another stream";
	if (frame->number < s->state->expected)
		return "there twice";
	return NULL;
}

static void note_gap(struct stream_state *st, uint64_t number)
{
	unsigned int i;

	for (i = 0; i < STREAM_GAPS && st->gaps[i].count; i++)
		;
	if (i < STREAM_GAPS) {
		st->gaps[i].number = st->expected;
		st->gaps[i].count = number - st->expected;
	}
	st->missing += number - st->expected;
}

unsigned int stream_consume(struct stream *s)
{
	struct stream_state *st = s->state;
	struct stream_frame *frame;
	unsigned int count = 0;
	const char *bad;

	for (; ring(s)[st->next].done.status & STREAM_DESC_DD; count++) {
		__sync_synchronize();
		frame = (void *)(s->base + STREAM_BUF_OFF + st->next * STREAM_BUF);
		bad = check_frame(s, frame, ring(s)[st->next].done.length);
		if (bad) {
			if (st->bad++ < STREAM_GAPS)
				fprintf(stderr, "stream %u: the frame after number %llu is %s\n",
					s->id, (unsigned long long)st->expected - 1, bad);
		} else {
			if (!st->received)
				st->first = frame->number;
			else if (frame->number != st->expected)
				note_gap(st, frame->number);
			st->expected = frame->number + 1;
			st->received++;
			st->ended |= frame->flags & FRAME_LAST;
		}
		/* So that it is seen when the next one is not written here. */
		frame->magic = 0;
		give(s, st->next);
		st->next = (st->next + 1) % STREAM_FRAMES;
	}
	if (count && s->dev)
		write_tail(s);
	return count;
}

static bool wait_for(struct stream *s, unsigned int frames, bool end, unsigned int ms)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	uint64_t give_up = lu_now_us() + ms * 1000ull;
	unsigned int got, seen = 0;

	for (;;) {
		got = stream_consume(s);
		seen += got;
		if (end ? s->state->ended : seen >= frames)
			return true;
		if (got)
			give_up = lu_now_us() + ms * 1000ull;
		else if (lu_now_us() > give_up)
			return false;
		nanosleep(&pause, NULL);
	}
}

bool stream_wait(struct stream *s, unsigned int frames, unsigned int ms)
{
	return wait_for(s, frames, false, ms);
}

bool stream_wait_end(struct stream *s, unsigned int ms)
{
	return wait_for(s, 0, true, ms);
}

void stream_send(const char *netdev)
{
	vmt_ask("stream start %s", netdev);
}

void stream_end(const char *netdev)
{
	vmt_ask("stream stop %s", netdev);
}

bool stream_good(struct stream *s)
{
	struct stream_state *st = s->state;
	unsigned int i;

	for (i = 0; i < STREAM_GAPS && st->gaps[i].count; i++)
		fprintf(stderr, "stream %u: %llu frames are missing from number %llu on\n", s->id,
			(unsigned long long)st->gaps[i].count,
			(unsigned long long)st->gaps[i].number);
	if (st->bad)
		fprintf(stderr, "stream %u: %llu bad frames\n", s->id,
			(unsigned long long)st->bad);
	return st->received && !st->missing && !st->bad;
}
