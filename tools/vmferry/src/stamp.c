// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stamp.h"

#include <time.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#endif

#include "sock.h"

/* How often the two clocks are read, to have them once without an interruption in between. */
#define TRIES 3

/* The TSC; kexec does not touch it. */
static uint64_t cycles(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __rdtsc();
#else
	return 0;
#endif
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct stamp stamp_now(void)
{
	struct stamp stamp = { .known = true };
	uint64_t best = UINT64_MAX;

	for (int n = 0; n < TRIES; n++) {
		uint64_t before = cycles(), ns = now_ns(), after = cycles();

		if (after - before >= best)
			continue;
		best = after - before;
		stamp.monotonic_ns = ns;
		stamp.cycles = before + best / 2;
	}
	stamp.real_ns = clock_ns(CLOCK_REALTIME);
	return stamp;
}

struct stamp stamp_boot(void)
{
	/* Also CLOCK_MONOTONIC begins there, but it does not go on while the host sleeps. */
	uint64_t up = clock_ns(CLOCK_BOOTTIME), real = clock_ns(CLOCK_REALTIME), ns = now_ns();

	return (struct stamp){
		.known = true,
		.monotonic_ns = ns > up ? ns - up : 0,
		.real_ns = real > up ? real - up : 0,
	};
}
