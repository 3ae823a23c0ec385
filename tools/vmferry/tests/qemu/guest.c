// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest without devices: it fills memory with numbers, looks at them again and again, and
 * counts, where the host can see it. Loaded by multiboot.
 */
#include <stdint.h>

#define MULTIBOOT 0x1badb002u
#define WORDS 0x100000u

__attribute__((section(".multiboot"), used))
static const uint32_t multiboot[] = { MULTIBOOT, 0, -MULTIBOOT };

/* In a page that the BIOS has done with. */
static volatile struct {
	uint32_t count, rounds, bad;
} *const status = (void *)0x7e00;

static volatile uint32_t *const memory = (void *)0x1000000;

static uint32_t next(uint32_t number)
{
	return number * 1664525 + 1013904223;
}

__attribute__((noreturn, used)) void _start(void)
{
	uint32_t number = 1;

	__asm__ volatile("cli");
	for (uint32_t n = 0; n < WORDS; n++)
		memory[n] = number = next(number);
	status->count = status->rounds = status->bad = 0;
	for (;;) {
		number = 1;
		for (uint32_t n = 0; n < WORDS; n++) {
			number = next(number);
			if (memory[n] != number)
				status->bad++;
			status->count++;
		}
		/* A state of the past with the memory of now would have lost track. */
		if (status->count % WORDS)
			status->bad++;
		status->rounds++;
	}
}
