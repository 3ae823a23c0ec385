/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LU_DEVICES_H
#define LU_DEVICES_H

#include "lu.h"

/* Every type of device the tests can drive; ends with NULL. */
extern const struct lu_ops *const lu_all_ops[];

#endif /* LU_DEVICES_H */
