/* SPDX-License-Identifier: GPL-2.0-only */
/* Registers of edu, QEMU's device for teaching. */
#ifndef EDU_REGS_H
#define EDU_REGS_H

#define EDU_LIVENESS	0x04
#define EDU_FACTORIAL	0x08
#define EDU_STATUS	0x20
#define  EDU_COMPUTING	0x01
#define EDU_IRQ_STATUS	0x24
#define EDU_IRQ_RAISE	0x60
#define EDU_IRQ_ACK	0x64
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
/* It is done 100 ms after this is written. */
#define EDU_DMA_CMD	0x98
#define  EDU_DMA_RUN	0x01
#define  EDU_DMA_TO_RAM	0x02
#define EDU_BUFFER	0x40000
#define EDU_BUFFER_SIZE	0x1000

#endif /* EDU_REGS_H */
