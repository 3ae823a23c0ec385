/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stream: numbered frames that a network card writes into memory which is handed
 * over, and who has looked at them.
 *
 * The runner sends them ([stream.<id>] in the scenario, see scripts/vmtest): each has
 * a number and a checksum. The ring has room for 4,096 frames, so the card goes on
 * for long without anybody who looks; and all that its driver knows is in the same
 * memory, so the next kernel's goes on where the last one's stopped.
 */
#ifndef STREAM_H
#define STREAM_H

#include "lu.h"

#define STREAM_FRAMES		4096
#define STREAM_BUF		2048
#define STREAM_GAPS		8

/* What the driver knows. At the start of the stream's memory. */
struct stream_state {
	uint32_t next;		/* descriptor that the next frame comes into */
	uint32_t ended;		/* the sender's last frame has come */
	uint64_t first;		/* number of the first frame there was */
	uint64_t expected;	/* number that the next frame should have */
	uint64_t received;	/* good frames */
	uint64_t missing;	/* numbers that never came */
	uint64_t bad;		/* frames of another stream, damaged or seen before */
	uint64_t marked;	/* number that was next when a test made its last note */
	struct {
		uint64_t number, count;
	} gaps[STREAM_GAPS];	/* the first few of what is missing */
};

#define STREAM_RING_OFF		0x1000
#define STREAM_BUF_OFF		(STREAM_RING_OFF + STREAM_FRAMES * 16)
#define STREAM_SIZE		(STREAM_BUF_OFF + STREAM_FRAMES * STREAM_BUF)

/* Where a stream's memory is for its device. There is nothing at this physical address. */
#define STREAM_IOVA(id)		(0x1000000000ULL + (id) * 0x10000000ULL)

/* A descriptor: what is to be filled, and then what the card says of it. */
union stream_desc {
	struct {
		uint64_t addr, zero;
	} read;
	struct {
		uint64_t info;
		uint32_t status;
		uint16_t length, vlan;
	} done;
};

#define STREAM_DESC_DD		0x1	/* in the status: done */

struct stream {
	unsigned int id;	/* its number among the streams of the scenario, from 0 */
	struct lu_dev *dev;	/* NULL while the device is not open */
	struct stream_state *state;
	char *base;
	uint64_t iova;
};

/* A memfd that has room for @count streams and @more bytes behind them. */
int stream_memfd(unsigned int count, size_t more);

/*
 * Map the memory of stream @id, which is that far into the memfd. Returns nothing: it
 * dies when it cannot.
 */
void stream_init(struct stream *s, unsigned int id, int memfd);

/* The memory into an IOAS, at the stream's IOVA. 0 or a negative errno. */
int stream_map(struct stream *s, int memfd, struct iommu *iommu);

/* What is written where to have a card receive all there is. */
#define NIC_RCTL		0x0100
#define NIC_RCTL_ON		0x0400801a

/* Tell a card of a ring; it does not receive yet. */
void stream_ring(struct lu_dev *dev, uint64_t iova, unsigned int entries);

/* Set the open device up and have it receive; it must be able to reach the memory. */
void stream_setup(struct stream *s, struct lu_dev *dev);
/* Go on with a device that was handed over: give it back what was consumed meanwhile. */
void stream_resume(struct stream *s, struct lu_dev *dev);
/* No longer receive. */
void stream_stop(struct stream *s);

/* The sender's first frame, and its last one. */
void stream_send(const char *netdev);
void stream_end(const char *netdev);

/* Look at what has come, good or bad: how many frames. */
unsigned int stream_consume(struct stream *s);
/* Until that many more frames have come; not if none comes for @ms milliseconds. */
bool stream_wait(struct stream *s, unsigned int frames, unsigned int ms);
/* Until the sender's last frame has come, likewise. */
bool stream_wait_end(struct stream *s, unsigned int ms);

/* Nothing missing and nothing bad; otherwise with lines on stderr that say what. */
bool stream_good(struct stream *s);

#endif /* STREAM_H */
