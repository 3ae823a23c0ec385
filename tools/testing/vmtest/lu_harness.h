/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's test harness. Its timeout of 30 seconds is for a machine that is not
 * emulated; here the runner watches the time.
 */
#ifndef LU_HARNESS_H
#define LU_HARNESS_H

#include "kselftest_harness.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	3600

#include "lu.h"

#endif /* LU_HARNESS_H */
