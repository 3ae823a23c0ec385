/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lu: preserved vfio devices, for the guest tests.
 *
 * On top of the kernel's libvfio, which opens a device by its BDF, this has what
 * a live update needs: LUO's ioctls, files that come from RETRIEVE_FD, INTx, and a
 * small driver for each of the device types that the tests use.
 *
 * What can only fail because the test or the machine is broken ends the program
 * with a sentence; what a test may want to look at returns a negative errno.
 */
#ifndef LU_H
#define LU_H

#include <stdbool.h>
#include <stdint.h>

#include <libvfio.h>

#include "luo_test_utils.h"
#include "vmtest.h"

#define LU_CFG_SIZE	4096
#define LU_MAX_REGS	256
#define LU_MAX_VECTORS	4
#define LU_MAX_DEVS	8
#define LU_DMA_SIZE	0x10000

struct lu_dev;

/* What a type of device can do for a test. */
struct lu_ops {
	const char *name;
	uint16_t vendor, device;
	/* VFIO_PCI_*_IRQ_INDEX that it has, as bits, and vectors of MSI-X to use, likewise. */
	unsigned int irqs, vectors;
	/* Does QEMU's reset of the function show in its registers? */
	bool reset_shows;

	/* Make the registers differ from what a reset leaves; @seed varies the values. */
	void (*program)(struct lu_dev *dev, unsigned int seed);
	/* Read all registers that have to be kept; returns how many. */
	unsigned int (*read_regs)(struct lu_dev *dev, uint64_t *regs);

	/* Let the device signal; only once, a live update keeps it. */
	void (*irq_setup)(struct lu_dev *dev);
	void (*irq_raise)(struct lu_dev *dev, unsigned int vector);
	void (*irq_ack)(struct lu_dev *dev);

	/* Have the device write to memory and look at it; may be NULL. */
	bool (*dma)(struct lu_dev *dev, unsigned int seed);
};

/* What one kernel tells the next about a device, in preserved memory. */
struct lu_saved {
	uint32_t irq_index;
	uint32_t irqs[3];	/* how many there are of each kind */
	uint32_t flags;		/* VFIO_DEVICE_FLAGS_* */
	uint32_t nr_regs;
	uint64_t regs[LU_MAX_REGS];
	uint32_t cfg_size;
	uint8_t cfg[LU_CFG_SIZE];
	uint32_t priv[8];	/* of the device type's driver */
	uint64_t mem_total;	/* only the first device's: memory after the first update, kB */
};

struct lu_dev {
	const struct lu_ops *ops;
	const char *bdf;
	char port[16];		/* BDF of the port above, "" if there is none */
	char name[64];
	uint64_t token;
	unsigned int nr;

	struct vfio_pci_device *vfio;
	int irq_index;		/* VFIO_PCI_*_IRQ_INDEX in use, or -1 */
	int irq_fds[LU_MAX_VECTORS];

	struct lu_saved *saved;
	struct dma_region dma;
	int dma_fd;		/* the notes, and where in them it is */
	uint64_t dma_offset;
};

/* LUO. All return a negative errno on failure. */
int lu_preserve(int session, int fd, uint64_t token);
int lu_retrieve(int session, uint64_t token);
/* A file of /dev/liveupdate-test. */
int lu_test_file_open(void);
void lu_test_file_set(int fd, const char *text);

/* The liveupdate attribute of a device, "" if there is none; valid until the next call. */
const char *lu_state(const char *bdf);

/* BDF of the bridge above, or NULL; valid until exit. */
const char *lu_above(const char *bdf);

/* Bit of COMMAND in the hardware. */
bool lu_bus_master(const char *bdf);

/*
 * All devices whose type is known, in order of type and BDF, bound to vfio-pci or
 * not. "vmtest.devices=" says how many there must be, so that none gets lost unseen.
 */
unsigned int lu_find(struct lu_dev *devs, unsigned int max);
void lu_find_one(struct lu_dev *dev, uint16_t vendor, uint16_t device, unsigned int n);

/* VFIO. */
int lu_cdev_open(const char *bdf);
int lu_bind_iommufd(int fd, struct iommu *iommu);
int lu_attach(int fd, struct iommu *iommu);
/* Set dev->vfio up for a bound file, BARs mapped. */
void lu_setup(struct lu_dev *dev, int fd, struct iommu *iommu);
/* Retrieve, and all of the above: 0 or a negative errno, with a line on stderr. */
int lu_take(struct lu_dev *dev, int session, struct iommu *iommu);
/* All of the above for an ordinary device. */
void lu_open(struct lu_dev *dev, struct iommu *iommu);
void lu_set_command(struct lu_dev *dev, uint16_t bits);
/* Close it and all that belongs to it. */
void lu_close(struct lu_dev *dev);
/* Open through the group and a type 1 container: a file or a negative errno. */
int lu_group_open(const char *bdf, struct vfio_pci_device *vfio);

void lu_read_config(struct lu_dev *dev, uint8_t *cfg);
/* Offset of a capability in what vfio shows, 0 if there is none. */
unsigned int lu_cap(struct lu_dev *dev, uint8_t id);

uint32_t lu_read32(struct lu_dev *dev, unsigned int reg);
void lu_write32(struct lu_dev *dev, unsigned int reg, uint32_t val);
uint64_t lu_read64(struct lu_dev *dev, unsigned int reg);
void lu_write64(struct lu_dev *dev, unsigned int reg, uint64_t val);

/*
 * Interrupts. enable creates the eventfds; wait returns whether one came within
 * ten seconds, and takes it. test is raise, wait and ack for each vector.
 */
void lu_set_irqs(struct lu_dev *dev, unsigned int index, uint32_t action, unsigned int count,
		 const int *fds);
void lu_irq_enable(struct lu_dev *dev, int index);
void lu_irq_disable(struct lu_dev *dev);
bool lu_irq_vector(struct lu_dev *dev, unsigned int vector);
bool lu_irq_wait(struct lu_dev *dev, unsigned int vector);
bool lu_irq_pending(struct lu_dev *dev, unsigned int vector);
void lu_irq_ack(struct lu_dev *dev);
bool lu_irq_test(struct lu_dev *dev);
const char *lu_irq_name(int index);

/*
 * Notes for the next kernel: a memfd with a struct lu_saved and memory for DMA for
 * each device. create returns the memfd; map is for one that was retrieved.
 */
#define LU_NOTES_TOKEN	1
int lu_notes_create(struct lu_dev *devs, unsigned int count);
void lu_notes_map(int fd, struct lu_dev *devs, unsigned int count);

/*
 * The memory in the notes, at an IOVA that is the same in every kernel. While a device
 * that uses the IOAS is preserved nothing can be mapped: first map for all of them.
 */
void lu_dma_map(struct lu_dev *dev, struct iommu *iommu);

/* A piece of a file into the IOAS, for reading and writing. 0 or a negative errno. */
int lu_map_file(struct iommu *iommu, int fd, uint64_t offset, uint64_t length, uint64_t iova);

/*
 * Bring an open device into a state that a reset would destroy: registers, config
 * space, interrupts of the given kind; @seed varies the values. Prints to stderr
 * what goes wrong and returns whether all went well.
 */
bool lu_program(struct lu_dev *dev, unsigned int seed, int irq_index);

/* The state as it is now into the notes, and how many registers and bytes of the
 * virtual config space differ from the notes, each with a line on stderr.
 */
void lu_note_down(struct lu_dev *dev);
unsigned int lu_regs_changed(struct lu_dev *dev);
unsigned int lu_config_changed(struct lu_dev *dev);
/* What the ioctls tell of the device that differs from the notes, likewise. */
unsigned int lu_info_changed(struct lu_dev *dev);
/* Differences are what is wanted: no lines. */
extern bool lu_quiet;

/*
 * All that comes before a jump: program the devices, which are open and have their
 * memory mapped, with interrupts of the given kind, preserve the notes and them in a
 * new session, and note down. The session or a negative errno, with a line on stderr.
 */
int lu_preserve_all(int luo, const char *name, int notes, struct lu_dev *devs, unsigned int count,
		    int irq_index);

/* Have an edu copy between memory, at an IOVA, and its buffer; @flags as in edu_regs.h. */
bool lu_edu_copy(struct lu_dev *dev, uint64_t src, uint64_t dst, size_t len, uint32_t flags);

/* Physical addresses of pages of this program, which have to be there. */
void lu_phys_pages(const void *vaddr, uint64_t *phys, unsigned int count);
uint64_t lu_phys(const void *vaddr);

/* Microseconds of CLOCK_MONOTONIC. */
uint64_t lu_now_us(void);

#endif /* LU_H */
