/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guest tests need of the NVM Express specification. */
#ifndef NVME_REGS_H
#define NVME_REGS_H

#include <stdint.h>

#define NVME_CC		0x14
#define  NVME_CC_EN	0x460001	/* entry sizes 64 and 16, enable */
#define NVME_CSTS	0x1c
#define  NVME_CSTS_RDY	0x1
#define NVME_AQA	0x24
#define NVME_ASQ	0x28
#define NVME_ACQ	0x30
#define NVME_SQTAIL(q)	(0x1000 + 8 * (q))
#define NVME_CQHEAD(q)	(0x1004 + 8 * (q))

/* Of the admin queue. */
#define NVME_CREATE_SQ	0x01
#define NVME_CREATE_CQ	0x05
#define NVME_IDENTIFY	0x06
#define NVME_ID_SIZE	4096
/* Of the others. */
#define NVME_WRITE	0x01
#define NVME_READ	0x02

struct nvme_cmd {
	uint8_t opcode, flags;
	uint16_t cid;
	uint32_t nsid;
	uint64_t rsvd, mptr, prp1, prp2;
	uint32_t cdw10[6];
};

struct nvme_cqe {
	uint32_t result, rsvd;
	uint16_t sq_head, sq_id, cid, status;
};

#endif /* NVME_REGS_H */
