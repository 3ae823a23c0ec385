/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * When something was reached, by three clocks: none of them alone is good for both kernels.
 */
#ifndef VMFERRY_STAMP_H
#define VMFERRY_STAMP_H

#include <stdbool.h>
#include <stdint.h>

struct stamp {
	bool known;
	uint64_t monotonic_ns;	/* starts anew with the kernel */
	uint64_t real_ns;	/* of the new kernel, only right to a second: it is the RTC's */
	uint64_t cycles;	/* of a counter that goes on, or 0 if there is none */
};

struct stamp stamp_now(void);

/* When this kernel's clocks began. There are no cycles. */
struct stamp stamp_boot(void);

#endif /* VMFERRY_STAMP_H */
