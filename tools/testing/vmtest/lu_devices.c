// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drivers for the devices of the guest tests: just enough to put a device into a
 * state that a reset would destroy, to make it signal, and to make it do DMA.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "edu_regs.h"
#include "lu_devices.h"
#include "nvme_regs.h"

#define BIT(n)		(1u << (n))
#define ALL_IRQS	(BIT(VFIO_PCI_INTX_IRQ_INDEX) | BIT(VFIO_PCI_MSI_IRQ_INDEX) | \
			 BIT(VFIO_PCI_MSIX_IRQ_INDEX))
#define TIMEOUT_US	10000000

/* Until a register, masked, reads as wanted. */
static bool wait_reg(struct lu_dev *dev, unsigned int reg, uint32_t mask, uint32_t want)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t end = lu_now_us() + TIMEOUT_US;

	while ((lu_read32(dev, reg) & mask) != want) {
		if (lu_now_us() > end) {
			fprintf(stderr, "%s: register %#x stays at %#x\n", dev->name, reg,
				lu_read32(dev, reg));
			return false;
		}
		nanosleep(&ms, NULL);
	}
	return true;
}

/* ---- edu: QEMU's device for teaching ----------------------------------------- */

static void edu_program(struct lu_dev *dev, unsigned int seed)
{
	lu_write32(dev, EDU_LIVENESS, 0x12345678 + seed);
	lu_write32(dev, EDU_FACTORIAL, 3 + seed % 8);
	lu_write64(dev, EDU_DMA_SRC, 0xabc000 + seed);
	lu_write64(dev, EDU_DMA_DST, 0xdef000 + seed);
	lu_write64(dev, EDU_DMA_COUNT, 64 + seed);
	wait_reg(dev, EDU_STATUS, EDU_COMPUTING, 0);
}

static unsigned int edu_read_regs(struct lu_dev *dev, uint64_t *regs)
{
	unsigned int n = 0;

	regs[n++] = lu_read32(dev, EDU_LIVENESS);
	regs[n++] = lu_read32(dev, EDU_FACTORIAL);
	regs[n++] = lu_read64(dev, EDU_DMA_SRC);
	regs[n++] = lu_read64(dev, EDU_DMA_DST);
	regs[n++] = lu_read64(dev, EDU_DMA_COUNT);
	return n;
}

static void edu_irq_raise(struct lu_dev *dev, unsigned int vector)
{
	lu_write32(dev, EDU_IRQ_RAISE, 1 << vector);
}

static void edu_irq_ack(struct lu_dev *dev)
{
	lu_write32(dev, EDU_IRQ_ACK, lu_read32(dev, EDU_IRQ_STATUS));
}

bool lu_edu_copy(struct lu_dev *dev, uint64_t src, uint64_t dst, size_t len, uint32_t flags)
{
	lu_write64(dev, EDU_DMA_SRC, src);
	lu_write64(dev, EDU_DMA_DST, dst);
	lu_write64(dev, EDU_DMA_COUNT, len);
	lu_write64(dev, EDU_DMA_CMD, EDU_DMA_RUN | flags);
	return wait_reg(dev, EDU_DMA_CMD, EDU_DMA_RUN, 0);
}

/* Memory to the device's buffer and back to another place. */
static bool edu_dma(struct lu_dev *dev, unsigned int seed)
{
	char *from = dev->dma.vaddr, *to = from + 0x1000;
	size_t i, len = 1000;

	for (i = 0; i < len; i++)
		from[i] = seed + 7 * i;
	memset(to, 0, len);
	return lu_edu_copy(dev, dev->dma.iova, EDU_BUFFER, len, 0) &&
	       lu_edu_copy(dev, EDU_BUFFER, dev->dma.iova + 0x1000, len, EDU_DMA_TO_RAM) &&
	       !memcmp(from, to, len);
}

static const struct lu_ops edu_ops = {
	.name = "edu",
	.vendor = 0x1234,
	.device = 0x11e8,
	.irqs = BIT(VFIO_PCI_INTX_IRQ_INDEX) | BIT(VFIO_PCI_MSI_IRQ_INDEX),
	.program = edu_program,
	.read_regs = edu_read_regs,
	.irq_raise = edu_irq_raise,
	.irq_ack = edu_irq_ack,
	.dma = edu_dma,
};

/* ---- e1000e and igb: 82574L and 82576 ---------------------------------------- */

#define NIC_MTA(n)	(0x5200 + 4 * (n))
#define NIC_MTA_SIZE	128
#define NIC_RAL(n)	(0x5400 + 8 * (n))
#define NIC_RAH(n)	(0x5404 + 8 * (n))
#define  NIC_RAH_VALID	BIT(31)
#define NIC_RA_SIZE	16

#define E1000E_ICR	0x00c0
#define E1000E_ICS	0x00c8
#define E1000E_IMS	0x00d0
#define E1000E_EIAC	0x00dc
#define E1000E_IVAR	0x00e4
#define  E1000E_CAUSE(vector)	BIT(20 + (vector))	/* RxQ0, RxQ1, TxQ0, TxQ1 */
#define  E1000E_LSC	BIT(2)

/* QEMU has these only at the addresses of older chips. */
#define IGB_ICR		0x00c0
#define IGB_ICS		0x00c8
#define IGB_IMS		0x00d0
#define IGB_GPIE	0x1514
#define  IGB_GPIE_MSIX	BIT(4)
#define IGB_EICS	0x1520
#define IGB_EIMS	0x1524
#define IGB_EICR	0x1580
#define  IGB_LSC	BIT(2)

static void nic_program(struct lu_dev *dev, unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < NIC_RA_SIZE; i++) {
		lu_write32(dev, NIC_RAL(i), 0x11220002 + (seed << 8) + i);
		lu_write32(dev, NIC_RAH(i), 0x4433 + seed + i + NIC_RAH_VALID);
	}
	for (i = 0; i < NIC_MTA_SIZE; i++)
		lu_write32(dev, NIC_MTA(i), 0x9e3779b9u * (seed + i + 1));
}

static unsigned int nic_read_regs(struct lu_dev *dev, uint64_t *regs)
{
	unsigned int i, n = 0;

	for (i = 0; i < NIC_RA_SIZE; i++) {
		regs[n++] = lu_read32(dev, NIC_RAL(i));
		regs[n++] = lu_read32(dev, NIC_RAH(i));
	}
	for (i = 0; i < NIC_MTA_SIZE; i++)
		regs[n++] = lu_read32(dev, NIC_MTA(i));
	return n;
}

static void e1000e_irq_setup(struct lu_dev *dev)
{
	/* Each queue's cause to the vector of the same number, if it is in use. */
	lu_write32(dev, E1000E_IVAR, 0xba98);
	lu_write32(dev, E1000E_IMS, dev->irq_index == VFIO_PCI_MSIX_IRQ_INDEX ?
		   0xf << 20 : E1000E_LSC);
}

static void e1000e_irq_raise(struct lu_dev *dev, unsigned int vector)
{
	lu_write32(dev, E1000E_ICS, dev->irq_index == VFIO_PCI_MSIX_IRQ_INDEX ?
		   E1000E_CAUSE(vector) : E1000E_LSC);
}

static void e1000e_irq_ack(struct lu_dev *dev)
{
	lu_write32(dev, E1000E_ICR, lu_read32(dev, E1000E_ICR));
}

static const struct lu_ops e1000e_ops = {
	.name = "e1000e",
	.vendor = 0x8086,
	.device = 0x10d3,
	.irqs = ALL_IRQS,
	.vectors = BIT(0) | BIT(1) | BIT(3),
	/* It has no FLR, and QEMU does not act on D3hot to D0. */
	.program = nic_program,
	.read_regs = nic_read_regs,
	.irq_setup = e1000e_irq_setup,
	.irq_raise = e1000e_irq_raise,
	.irq_ack = e1000e_irq_ack,
};

static void igb_irq_setup(struct lu_dev *dev)
{
	if (dev->irq_index == VFIO_PCI_MSIX_IRQ_INDEX) {
		lu_write32(dev, IGB_GPIE, IGB_GPIE_MSIX);
		lu_write32(dev, IGB_EIMS, dev->ops->vectors);
	} else {
		lu_write32(dev, IGB_GPIE, 0);
		lu_write32(dev, IGB_IMS, IGB_LSC);
	}
}

static void igb_irq_raise(struct lu_dev *dev, unsigned int vector)
{
	if (dev->irq_index == VFIO_PCI_MSIX_IRQ_INDEX)
		lu_write32(dev, IGB_EICS, BIT(vector));
	else
		lu_write32(dev, IGB_ICS, IGB_LSC);
}

static void igb_irq_ack(struct lu_dev *dev)
{
	lu_write32(dev, IGB_EICR, lu_read32(dev, IGB_EICR));
	lu_read32(dev, IGB_ICR);
}

static const struct lu_ops igb_ops = {
	.name = "igb",
	.vendor = 0x8086,
	.device = 0x10c9,
	.irqs = ALL_IRQS,
	.vectors = BIT(0) | BIT(2) | BIT(3),
	.reset_shows = true,
	.program = nic_program,
	.read_regs = nic_read_regs,
	.irq_setup = igb_irq_setup,
	.irq_raise = igb_irq_raise,
	.irq_ack = igb_irq_ack,
};

/* ---- NVMe --------------------------------------------------------------------- */

/* Where things are in the device's memory. */
#define NVME_SQ_OFF	0x0000
#define NVME_CQ_OFF	0x1000
#define NVME_ID_OFF	0x2000

/* saved->priv: what a driver has to remember of its queues. */
enum { NVME_SIZE, NVME_TAIL, NVME_HEAD, NVME_PHASE, NVME_CID };

static void nvme_submit(struct lu_dev *dev)
{
	struct nvme_cmd *sq = dev->dma.vaddr + NVME_SQ_OFF;
	uint32_t *priv = dev->saved->priv;

	sq[priv[NVME_TAIL]] = (struct nvme_cmd){
		.opcode = NVME_IDENTIFY,
		.cid = ++priv[NVME_CID],
		.prp1 = dev->dma.iova + NVME_ID_OFF,
		.cdw10 = { 1 },		/* the controller */
	};
	priv[NVME_TAIL] = (priv[NVME_TAIL] + 1) % priv[NVME_SIZE];
	__sync_synchronize();
	lu_write32(dev, NVME_SQTAIL(0), priv[NVME_TAIL]);
}

/* Take the next completion. */
static void nvme_irq_ack(struct lu_dev *dev)
{
	volatile struct nvme_cqe *cq = dev->dma.vaddr + NVME_CQ_OFF, *cqe;
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t end = lu_now_us() + TIMEOUT_US;
	uint32_t *priv = dev->saved->priv;

	cqe = &cq[priv[NVME_HEAD]];
	while ((cqe->status & 1) != priv[NVME_PHASE]) {
		if (lu_now_us() > end) {
			fprintf(stderr, "%s: no completion\n", dev->name);
			return;
		}
		nanosleep(&ms, NULL);
	}
	if (cqe->status >> 1 || cqe->cid != (priv[NVME_CID] & 0xffff))
		fprintf(stderr, "%s: command %u completed as %u with status %#x\n", dev->name,
			priv[NVME_CID], cqe->cid, cqe->status >> 1);
	if (++priv[NVME_HEAD] == priv[NVME_SIZE]) {
		priv[NVME_HEAD] = 0;
		priv[NVME_PHASE] ^= 1;
	}
	lu_write32(dev, NVME_CQHEAD(0), priv[NVME_HEAD]);
}

static void nvme_program(struct lu_dev *dev, unsigned int seed)
{
	uint32_t size = 8 + seed % 8;

	lu_write32(dev, NVME_CC, 0);
	wait_reg(dev, NVME_CSTS, NVME_CSTS_RDY, 0);
	memset(dev->dma.vaddr, 0, dev->dma.size);
	memset(dev->saved->priv, 0, sizeof(dev->saved->priv));
	dev->saved->priv[NVME_SIZE] = size;
	dev->saved->priv[NVME_PHASE] = 1;
	lu_write32(dev, NVME_AQA, (size - 1) << 16 | (size - 1));
	lu_write64(dev, NVME_ASQ, dev->dma.iova + NVME_SQ_OFF);
	lu_write64(dev, NVME_ACQ, dev->dma.iova + NVME_CQ_OFF);
	lu_write32(dev, NVME_CC, NVME_CC_EN);
	wait_reg(dev, NVME_CSTS, NVME_CSTS_RDY, NVME_CSTS_RDY);
}

static unsigned int nvme_read_regs(struct lu_dev *dev, uint64_t *regs)
{
	unsigned int n = 0;

	regs[n++] = lu_read32(dev, NVME_CC);
	regs[n++] = lu_read32(dev, NVME_CSTS);
	regs[n++] = lu_read32(dev, NVME_AQA);
	regs[n++] = lu_read64(dev, NVME_ASQ);
	regs[n++] = lu_read64(dev, NVME_ACQ);
	return n;
}

static void nvme_irq_raise(struct lu_dev *dev, unsigned int vector)
{
	(void)vector;
	nvme_submit(dev);
}

static bool nvme_dma(struct lu_dev *dev, unsigned int seed)
{
	unsigned char *id = dev->dma.vaddr + NVME_ID_OFF;

	bool came = true;

	memset(id, ~seed, NVME_ID_SIZE);
	nvme_submit(dev);
	if (dev->irq_index >= 0)
		came = lu_irq_wait(dev, 0);
	lu_irq_ack(dev);
	/* Starts with QEMU's PCI vendor ID; the end of the reserved part is zero. */
	return came && id[0] == 0x36 && id[1] == 0x1b && !id[2047];
}

static const struct lu_ops nvme_ops = {
	.name = "nvme",
	.vendor = 0x1b36,
	.device = 0x0010,
	.irqs = BIT(VFIO_PCI_INTX_IRQ_INDEX) | BIT(VFIO_PCI_MSIX_IRQ_INDEX),
	.vectors = BIT(0),
	.reset_shows = true,
	.program = nvme_program,
	.read_regs = nvme_read_regs,
	.irq_raise = nvme_irq_raise,
	.irq_ack = nvme_irq_ack,
	.dma = nvme_dma,
};

/* ---- virtio-net, modern, behind the IOMMU --------------------------------------- */

/* Where QEMU puts the common configuration and the others in BAR 4. */
#define VIRTIO_BAR	4
#define VIRTIO_FSELECT	0x08
#define VIRTIO_FEATURES	0x0c
#define VIRTIO_VECTOR	0x10
#define VIRTIO_STATUS	0x14
#define  VIRTIO_DRIVER	0x03	/* acknowledged, there is a driver */
#define  VIRTIO_F_OK	0x08
#define  VIRTIO_RUN	0x04
#define VIRTIO_QSELECT	0x16
#define VIRTIO_QSIZE	0x18
#define VIRTIO_QVECTOR	0x1a
#define  VIRTIO_NONE	0xffff
#define VIRTIO_QENABLE	0x1c
#define VIRTIO_QDESC	0x20
#define VIRTIO_QAVAIL	0x28
#define VIRTIO_QUSED	0x30
#define VIRTIO_ISR	0x1000
#define VIRTIO_NOTIFY	0x3000

#define VIRTIO_F_MAC	BIT(5)
#define VIRTIO_F_HI	(BIT(0) | BIT(1))	/* version 1, DMA through the IOMMU */
#define VIRTIO_TX	1			/* the queue in use */
#define VIRTIO_FRAME	(12 + 60)		/* with virtio's header */

struct virtio_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct virtio_avail {
	uint16_t flags, idx, ring[];
};

struct virtio_used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[];
};

/* Where things are in the device's memory. */
#define VIRTIO_DESC_OFF	0x0000
#define VIRTIO_AVAIL_OFF 0x1000
#define VIRTIO_USED_OFF	0x2000
#define VIRTIO_BUF_OFF	0x3000

/* saved->priv */
enum { VIRTIO_SIZE, VIRTIO_IDX };

#define virtio_reg(dev, type, off) \
	(*(volatile type *)((char *)(dev)->vfio->bars[VIRTIO_BAR].vaddr + (off)))

/* Registers of this device are as wide as they are said to be. */
static void virtio_write64(struct lu_dev *dev, unsigned int off, uint64_t val)
{
	virtio_reg(dev, uint32_t, off) = val;
	virtio_reg(dev, uint32_t, off + 4) = val >> 32;
}

static void virtio_program(struct lu_dev *dev, unsigned int seed)
{
	bool msix = dev->irq_index == VFIO_PCI_MSIX_IRQ_INDEX;
	uint32_t size = seed % 2 ? 64 : 128;

	virtio_reg(dev, uint8_t, VIRTIO_STATUS) = 0;
	memset(dev->dma.vaddr, 0, dev->dma.size);
	memset(dev->saved->priv, 0, sizeof(dev->saved->priv));
	dev->saved->priv[VIRTIO_SIZE] = size;

	virtio_reg(dev, uint8_t, VIRTIO_STATUS) = VIRTIO_DRIVER;
	virtio_reg(dev, uint32_t, VIRTIO_FSELECT) = 0;
	virtio_reg(dev, uint32_t, VIRTIO_FEATURES) = seed % 2 ? VIRTIO_F_MAC : 0;
	virtio_reg(dev, uint32_t, VIRTIO_FSELECT) = 1;
	virtio_reg(dev, uint32_t, VIRTIO_FEATURES) = VIRTIO_F_HI;
	virtio_reg(dev, uint8_t, VIRTIO_STATUS) = VIRTIO_DRIVER | VIRTIO_F_OK;
	virtio_reg(dev, uint16_t, VIRTIO_VECTOR) = VIRTIO_NONE;

	virtio_reg(dev, uint16_t, VIRTIO_QSELECT) = VIRTIO_TX;
	virtio_reg(dev, uint16_t, VIRTIO_QSIZE) = size;
	virtio_reg(dev, uint16_t, VIRTIO_QVECTOR) = msix ? 0 : VIRTIO_NONE;
	virtio_write64(dev, VIRTIO_QDESC, dev->dma.iova + VIRTIO_DESC_OFF);
	virtio_write64(dev, VIRTIO_QAVAIL, dev->dma.iova + VIRTIO_AVAIL_OFF);
	virtio_write64(dev, VIRTIO_QUSED, dev->dma.iova + VIRTIO_USED_OFF);
	virtio_reg(dev, uint16_t, VIRTIO_QENABLE) = 1;
	virtio_reg(dev, uint8_t, VIRTIO_STATUS) = VIRTIO_DRIVER | VIRTIO_F_OK | VIRTIO_RUN;
}

static unsigned int virtio_read_regs(struct lu_dev *dev, uint64_t *regs)
{
	unsigned int i, n = 0;

	/* What is selected is a register as well. */
	regs[n++] = virtio_reg(dev, uint32_t, VIRTIO_FSELECT);
	regs[n++] = virtio_reg(dev, uint16_t, VIRTIO_QSELECT);
	for (i = 0; i < 2; i++) {
		virtio_reg(dev, uint32_t, VIRTIO_FSELECT) = i;
		regs[n++] = virtio_reg(dev, uint32_t, VIRTIO_FEATURES);
	}
	virtio_reg(dev, uint16_t, VIRTIO_QSELECT) = VIRTIO_TX;
	regs[n++] = virtio_reg(dev, uint8_t, VIRTIO_STATUS);
	regs[n++] = virtio_reg(dev, uint16_t, VIRTIO_VECTOR);
	regs[n++] = virtio_reg(dev, uint16_t, VIRTIO_QSIZE);
	regs[n++] = virtio_reg(dev, uint16_t, VIRTIO_QVECTOR);
	regs[n++] = virtio_reg(dev, uint16_t, VIRTIO_QENABLE);
	for (i = VIRTIO_QDESC; i <= VIRTIO_QUSED + 4; i += 4)
		regs[n++] = virtio_reg(dev, uint32_t, i);
	return n;
}

/* Send a frame. There is no network: it is taken and forgotten. */
static void virtio_irq_raise(struct lu_dev *dev, unsigned int vector)
{
	struct virtio_desc *desc = dev->dma.vaddr + VIRTIO_DESC_OFF;
	volatile struct virtio_avail *avail = dev->dma.vaddr + VIRTIO_AVAIL_OFF;
	uint32_t *priv = dev->saved->priv;

	(void)vector;
	desc[0] = (struct virtio_desc){
		.addr = dev->dma.iova + VIRTIO_BUF_OFF,
		.len = VIRTIO_FRAME,
	};
	avail->ring[priv[VIRTIO_IDX] % priv[VIRTIO_SIZE]] = 0;
	priv[VIRTIO_IDX]++;
	__sync_synchronize();
	avail->idx = priv[VIRTIO_IDX];
	__sync_synchronize();
	virtio_reg(dev, uint16_t, VIRTIO_NOTIFY + 4 * VIRTIO_TX) = VIRTIO_TX;
}

/* Until the frame is taken. */
static void virtio_irq_ack(struct lu_dev *dev)
{
	volatile struct virtio_used *used = dev->dma.vaddr + VIRTIO_USED_OFF;
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t end = lu_now_us() + TIMEOUT_US;

	while (used->idx != (uint16_t)dev->saved->priv[VIRTIO_IDX]) {
		if (lu_now_us() > end) {
			fprintf(stderr, "%s: the frame is not taken\n", dev->name);
			return;
		}
		nanosleep(&ms, NULL);
	}
	/* Reading it lets INTx go. */
	(void)virtio_reg(dev, uint8_t, VIRTIO_ISR);
}

static bool virtio_dma(struct lu_dev *dev, unsigned int seed)
{
	volatile struct virtio_used *used = dev->dma.vaddr + VIRTIO_USED_OFF;
	unsigned int slot = dev->saved->priv[VIRTIO_IDX] % dev->saved->priv[VIRTIO_SIZE];
	bool came = true;

	used->ring[slot].id = 0x1000 + seed;
	virtio_irq_raise(dev, 0);
	if (dev->irq_index >= 0)
		came = lu_irq_wait(dev, 0);
	lu_irq_ack(dev);
	return came && !used->ring[slot].id;
}

static const struct lu_ops virtio_ops = {
	.name = "virtio-net",
	.vendor = 0x1af4,
	.device = 0x1041,
	.irqs = BIT(VFIO_PCI_INTX_IRQ_INDEX) | BIT(VFIO_PCI_MSIX_IRQ_INDEX),
	.vectors = BIT(0),
	.reset_shows = true,
	.program = virtio_program,
	.read_regs = virtio_read_regs,
	.irq_raise = virtio_irq_raise,
	.irq_ack = virtio_irq_ack,
	.dma = virtio_dma,
};

const struct lu_ops *const lu_all_ops[] = {
	&e1000e_ops, &igb_ops, &edu_ops, &nvme_ops, &virtio_ops, NULL
};
